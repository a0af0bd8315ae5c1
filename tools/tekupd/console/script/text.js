/* text.js: the words of documents: what is marked in them, and the part that is shown. */

const utf8 = new TextEncoder();

/* Ranges of bytes of a text's UTF-8 as ranges of its characters. */
function ofBytes(text, ranges) {
    const encoded = utf8.encode(text);
    if (encoded.length === text.length) return ranges.map(({ start, end }) => [start, end]);
    const at = new Uint32Array(encoded.length + 1);
    let byte = 0, unit = 0;
    for (const character of text) {
        const code = character.codePointAt(0);
        const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        at.fill(unit, byte, byte + size);
        byte += size;
        unit += character.length;
    }
    at[byte] = unit;
    return ranges.map(({ start, end }) => [at[clamp(start, 0, encoded.length)], at[clamp(end, 0, encoded.length)]]);
}

const COMMON = new Set("a an and are as at be by can do for from has how i in is it of on or that the this to was we what when where which who will with you".split(" "));

/* Where the words of a query stand in a text, for answers that do not say: longer words also as
 * beginnings, common ones only where there is no other. Words after '-' are not wanted. */
function wordsIn(text, asked) {
    const words = [...asked.matchAll(/(^|[^\p{L}\p{N}_])(-?)([\p{L}\p{N}_]+)/gu)].filter((m) => m[2] === "").map((m) => m[3].toLowerCase());
    const longer = words.filter((word) => word.length > 1 && !COMMON.has(word));
    const terms = longer.length > 0 ? longer : words;
    if (terms.length === 0) return [];
    const found = [];
    for (const word of text.matchAll(/[\p{L}\p{N}_]+/gu)) {
        const lower = word[0].toLowerCase();
        if (terms.some((term) => lower === term || (term.length >= 4 && lower.startsWith(term)))) found.push([word.index, word.index + word[0].length]);
    }
    return found;
}

function rangesOf(hit, asked) {
    const text = hit.chunk?.text || "";
    if (hit.highlights?.length) return ofBytes(text, hit.highlights).sort((a, b) => a[0] - b[0]);
    return wordsIn(text, asked);
}

/* A text with its ranges marked. */
function marked(text, ranges, from = 0, to = text.length) {
    const parts = [];
    let at = from;
    for (const [start, end] of ranges) {
        if (end <= at || start >= to) continue;
        const begin = Math.max(start, at), stop = Math.min(end, to);
        if (begin > at) parts.push(text.slice(at, begin));
        parts.push(make("mark", {}, text.slice(begin, stop)));
        at = stop;
    }
    if (at < to) parts.push(text.slice(at, to));
    return parts;
}

/* Which of the ranges begins the stretch of a text where most different words stand together. */
function densest(text, ranges, room) {
    let best = 0, most = 0;
    for (let i = 0; i < ranges.length; i++) {
        const seen = new Set();
        for (let j = i; j < ranges.length && ranges[j][1] - ranges[i][0] < room; j++) seen.add(text.slice(...ranges[j]).toLowerCase());
        if (seen.size > most) [best, most] = [i, seen.size];
    }
    return best;
}

/* The part of a passage that says why it was found: where most marks stand together. */
function excerpt(text, ranges, room = 300) {
    let from = 0;
    if (ranges.length > 0 && text.length > room) {
        const [start] = ranges[densest(text, ranges, room * 0.8)];
        from = Math.max(0, start - 60);
        const blank = text.slice(from, start).search(/\s/);
        if (from > 0 && blank >= 0) from += blank + 1;
    }
    const to = Math.min(text.length, from + room * 1.3);
    const parts = marked(text, ranges, from, to).map((part) => {
        if (typeof part === "string") return tidy(part);
        part.textContent = tidy(part.textContent);
        return part;
    });
    return [from > 0 ? "… " : "", ...parts, to < text.length ? " …" : ""];
}
const tidy = (text) => text.replace(/([-=_*#~.])\1{3,}/g, "$1$1$1").replace(/\s+/g, " ");

/* Prose is set in the book's face, everything else in the terminal's. */
function isProse(path, source) {
    return source === "notion" || source === "gdrive" || /\.(md|markdown|mdx|rst|adoc|txt|html?|tex)$/i.test(path);
}

function nameOf(path) {
    const cut = path.lastIndexOf("/", path.length - 2) + 1;
    return [cut > 0 ? make("span", {}, path.slice(0, cut)) : null, make("b", {}, path.slice(cut))];
}

const webAddress = (text) => (typeof text === "string" && /^https?:\/\//i.test(text) ? text : null);
