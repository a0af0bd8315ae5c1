/*
 * common_words.c: words that tell texts apart hardly at all, each list in the order of its bytes.
 *
 * The function words are those that English and Danish sentences are held together with. The other
 * two are what software and its documents are written with: words that were found in more than four
 * tenths, and in more than a quarter, of the packages whose documentation lies in /usr/share/doc of
 * a Debian system with development tools, without licences and change logs. Danish function words
 * that mean something in English ("man", "dog") count as frequent.
 */
#include "ingest/embedding/words.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const char *const function_words[] = {
    "a", "about", "above", "ad", "af", "after", "again", "against", "aldrig", "all", "alle",
    "also", "alt", "although", "altid", "always", "am", "among", "an", "and", "anden", "andet",
    "andre", "another", "any", "are", "aren't", "around", "as", "at", "away", "back", "be",
    "became", "because", "become", "been", "before", "begge", "being", "below", "between", "blev",
    "blevet", "bliver", "bort", "both", "burde", "but", "by", "både", "came", "can", "can't",
    "cannot", "come", "could", "couldn't", "da", "dag", "de", "deg", "dem", "den", "denne",
    "dens", "der", "deres", "derfor", "derfra", "derpå", "det", "dets", "dette", "did", "didn't",
    "din", "dine", "disse", "dit", "do", "does", "doesn't", "doing", "don't", "done", "down",
    "du", "during", "each", "efter", "either", "ej", "eller", "else", "en", "end", "endnu",
    "enhver", "er", "et", "etc", "even", "eventuelt", "ever", "every", "far", "few", "fik",
    "flere", "for", "fordi", "forrige", "fra", "from", "further", "få", "får", "først", "gave",
    "gennem", "get", "gets", "give", "given", "gjort", "go", "godt", "goes", "going", "got",
    "gør", "gøre", "had", "hadn't", "han", "hans", "har", "has", "hasn't", "havde", "have",
    "haven't", "having", "he", "hel", "hele", "heller", "hende", "hendes", "her", "here", "hers",
    "herself", "hertil", "him", "himself", "his", "hos", "how", "however", "hun", "hvad", "hvem",
    "hver", "hvilke", "hvilken", "hvilket", "hvis", "hvor", "hvordan", "hvorfor", "hvornår", "i",
    "i'd", "i'll", "i'm", "i've", "if", "igen", "ikke", "in", "ind", "inden", "indtil", "ingen",
    "instead", "intet", "into", "is", "isn't", "it", "its", "itself", "ja", "jeg", "jer", "jeres",
    "jo", "just", "kan", "keep", "kind", "kom", "komme", "kommer", "kun", "kunne", "langt", "lav",
    "lave", "lavet", "least", "less", "let", "let's", "lidt", "lige", "ligesom", "like", "made",
    "make", "makes", "mange", "many", "may", "maybe", "me", "med", "meget", "mellem", "mens",
    "mere", "mest", "mig", "might", "min", "mindre", "mit", "more", "most", "much", "must", "my",
    "myself", "må", "måske", "måtte", "ned", "need", "needs", "neither", "nej", "never", "no",
    "nogen", "noget", "nogle", "nok", "nor", "not", "nothing", "now", "nu", "ny", "nye", "når",
    "nær", "næste", "næsten", "of", "off", "often", "og", "også", "om", "omkring", "on", "once",
    "one", "only", "onto", "op", "or", "os", "other", "others", "otherwise", "our", "ours",
    "ourselves", "out", "over", "own", "per", "perhaps", "please", "put", "på", "quite", "rather",
    "really", "said", "same", "samme", "sammen", "samt", "say", "see", "seem", "seems", "selv",
    "selvom", "several", "shall", "she", "should", "shouldn't", "siden", "sig", "sin", "since",
    "sine", "skal", "skulle", "so", "som", "some", "something", "stadig", "still", "stor",
    "store", "står", "such", "så", "sådan", "således", "tage", "tager", "take", "temmelig",
    "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there", "therefore",
    "these", "they", "they're", "thing", "things", "this", "those", "though", "through", "thus",
    "til", "tilbage", "to", "together", "too", "toward", "towards", "two", "ud", "uden", "under",
    "undtagen", "unless", "until", "up", "upon", "us", "use", "used", "uses", "using", "usually",
    "var", "ved", "very", "via", "vil", "ville", "vor", "vore", "vores", "vær", "være", "været",
    "want", "wants", "was", "wasn't", "way", "we", "we're", "well", "were", "weren't", "what",
    "whatever", "when", "where", "whether", "which", "while", "who", "whom", "whose", "why",
    "will", "with", "within", "without", "won't", "would", "wouldn't", "yes", "yet", "you",
    "you'd", "you'll", "you're", "you've", "your", "yours", "yourself", "øvrigt",
};

static const char *const frequent_words[] = {
    "able", "access", "add", "added", "additional", "address", "allow", "already", "api",
    "application", "applications", "argument", "available", "bag", "bare", "base", "based",
    "basic", "binary", "bit", "bug", "bugs", "build", "building", "built", "call", "called",
    "case", "certain", "change", "changed", "changes", "char", "check", "close", "code", "com",
    "command", "common", "compile", "compiled", "compiler", "complete", "config", "configuration",
    "configure", "containing", "contains", "control", "copy", "copyright", "core", "correct",
    "create", "current", "currently", "data", "debug", "default", "define", "defined",
    "depending", "description", "designed", "details", "development", "different", "dig",
    "directory", "disable", "distributed", "distribution", "doc", "document", "documentation",
    "dog", "empty", "enable", "environment", "error", "errors", "example", "expected",
    "extensions", "fail", "feature", "file", "files", "find", "first", "fix", "fixed", "flag",
    "flags", "following", "format", "found", "free", "full", "function", "functions", "future",
    "general", "generated", "god", "good", "group", "ham", "handling", "header", "help", "hen",
    "html", "id", "implementation", "important", "include", "included", "includes", "including",
    "index", "info", "information", "install", "installation", "installed", "instructions", "int",
    "interface", "internal", "known", "lad", "language", "last", "later", "length", "level",
    "libraries", "library", "license", "line", "lines", "link", "list", "lists", "local", "long",
    "look", "mailing", "main", "man", "manual", "means", "memory", "men", "messages", "mine",
    "mode", "modify", "multiple", "name", "names", "needed", "new", "next", "non", "normal",
    "note", "null", "number", "object", "option", "options", "order", "original", "output",
    "package", "packages", "pages", "part", "particular", "pass", "path", "point", "possible",
    "prefix", "previous", "print", "problem", "program", "programs", "project", "provide",
    "provided", "provides", "public", "purpose", "re", "read", "readme", "reference", "related",
    "release", "remove", "report", "reports", "require", "required", "requires", "result",
    "results", "return", "root", "rules", "run", "running", "runtime", "script", "section",
    "security", "send", "separate", "set", "setting", "setup", "share", "shared", "similar",
    "simple", "single", "sit", "size", "software", "source", "specific", "specified", "standard",
    "start", "state", "static", "string", "style", "subject", "support", "supported", "sure",
    "system", "systems", "table", "target", "test", "tests", "text", "time", "tools", "try",
    "type", "types", "update", "useful", "user", "users", "value", "values", "variable",
    "version", "versions", "vi", "work", "works", "write", "written", "zero",
};

static const char *const familiar_words[] = {
    "abi", "abort", "active", "actual", "actually", "adding", "addition", "adds", "adjust",
    "affect", "allocate", "allowed", "allows", "along", "answer", "anything", "anyway", "apply",
    "appropriate", "architectures", "archive", "arg", "argc", "args", "arguments", "argv", "arm",
    "array", "ask", "assign", "associated", "author", "authors", "auto", "automatically", "avoid",
    "bad", "begin", "behavior", "behaviour", "best", "better", "big", "block", "body", "break",
    "buffer", "builds", "bytes", "cache", "callback", "calls", "cases", "cause", "cd",
    "character", "characters", "checking", "choice", "choose", "class", "clean", "cleanup",
    "clear", "client", "clone", "closed", "coding", "collection", "commands", "comment",
    "comments", "compatibility", "compatible", "compilation", "compilers", "condition",
    "conditions", "configured", "consider", "const", "constants", "contain", "contained",
    "contents", "context", "continue", "conversion", "convert", "converted", "copying",
    "correctly", "corresponding", "count", "cpp", "created", "creates", "creating", "cross",
    "date", "dato", "deal", "decide", "decimal", "defaults", "definition", "definitions",
    "delete", "deleted", "dependencies", "dependent", "depends", "described", "detail", "detect",
    "dev", "device", "dir", "directly", "directories", "disabled", "discussion", "display",
    "docs", "domain", "double", "download", "driver", "due", "dump", "dynamic", "dynamically",
    "earlier", "easy", "edit", "effect", "eksempel", "enabled", "enables", "encoding", "enough",
    "ensure", "entry", "env", "especially", "exact", "examples", "except", "exception",
    "exceptions", "execute", "execution", "exist", "existing", "exists", "exit", "expect",
    "explicit", "explicitly", "expression", "extension", "extra", "extract", "failed", "failure",
    "failures", "false", "faq", "fast", "features", "field", "fields", "filer", "filter", "firma",
    "follow", "follows", "force", "form", "forward", "front", "functionality", "generate",
    "generic", "gerne", "git", "gives", "global", "handle", "handled", "hard", "hardware", "hash",
    "headers", "hej", "high", "hilsen", "home", "host", "ignore", "ignored", "immediately",
    "implement", "implemented", "implied", "inc", "init", "initial", "initialize", "initialized",
    "input", "insert", "installing", "instance", "integer", "intended", "invalid", "issue",
    "issues", "items", "kept", "key", "know", "kunde", "lack", "lang", "languages", "large",
    "latest", "layout", "ld", "left", "levels", "likely", "limit", "limited", "limits", "linked",
    "linking", "links", "listed", "load", "locale", "location", "lock", "log", "longer", "low",
    "macro", "macros", "mail", "maintained", "maintainers", "major", "making", "manually", "mark",
    "match", "matt", "max", "mechanism", "member", "mentioned", "message", "method", "minimal",
    "minor", "missing", "modified", "module", "mostly", "multi", "named", "native", "necessary",
    "negative", "net", "newer", "news", "nice", "node", "none", "normally", "notes", "notice",
    "num", "numbers", "numeric", "nummer", "obtained", "occurs", "ok", "old", "older", "online",
    "open", "operating", "operation", "oplysninger", "optional", "outside", "overflow",
    "override", "overwrite", "page", "parallel", "parameter", "parameters", "parent", "passed",
    "passes", "passing", "patch", "patches", "paths", "people", "permission", "place", "places",
    "platform", "pointer", "pointers", "policy", "port", "post", "pre", "present", "primary",
    "printf", "probably", "problems", "process", "processing", "produce", "produced", "produces",
    "programming", "projects", "protocol", "push", "question", "questions", "random", "range",
    "reading", "ready", "real", "reason", "received", "recent", "recommended", "reduce",
    "references", "register", "relative", "released", "releases", "remaining", "removed",
    "replace", "replaced", "reported", "reporting", "request", "requests", "resource", "rest",
    "restore", "returned", "returns", "right", "rule", "safe", "save", "scan", "scripts",
    "search", "second", "sections", "seen", "select", "self", "sequence", "server", "sets",
    "settings", "short", "show", "side", "signature", "similarly", "simply", "site", "sizeof",
    "skip", "small", "solution", "sources", "space", "sparc", "special", "specification",
    "specify", "split", "stack", "standards", "started", "starting", "status", "stderr", "step",
    "stop", "stored", "stream", "strings", "strip", "struct", "structure", "structures", "sub",
    "submit", "subsequent", "successful", "sufficient", "suffix", "suite", "summary", "supports",
    "switch", "symbol", "symbols", "syntax", "sys", "tag", "tak", "taken", "tell", "template",
    "terminate", "terms", "testing", "thanks", "think", "thread", "three", "timeout", "times",
    "tool", "top", "tracking", "traditional", "tree", "true", "trying", "turn", "typically",
    "undefined", "unique", "unsigned", "updated", "updates", "upstream", "url", "usage", "utf",
    "valid", "variables", "various", "venlig", "verbose", "verify", "virtual", "void", "wait",
    "warning", "warnings", "warranty", "ways", "web", "working", "writing", "zip",
};
/* clang-format on */

static int compare(const void *key, const void *element)
{
    const struct word *word = key;
    const char *text = *(const char *const *)element;
    const int order = strncmp(word->text, text, word->length);
    return order != 0 ? order : -(text[word->length] != '\0');
}

static bool is_in(const struct word *word, const char *const *words, size_t count)
{
    return bsearch(word, words, count, sizeof(*words), compare) != NULL;
}

enum word_rarity word_rarity(const struct word *word)
{
    if (is_in(word, function_words, sizeof(function_words) / sizeof(*function_words)))
        return WORD_FUNCTION;
    if (is_in(word, frequent_words, sizeof(frequent_words) / sizeof(*frequent_words)))
        return WORD_FREQUENT;
    if (is_in(word, familiar_words, sizeof(familiar_words) / sizeof(*familiar_words)))
        return WORD_FAMILIAR;
    return WORD_RARE;
}
