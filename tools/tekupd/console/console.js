/*
 * The console's script: four views (search, repositories, index, map) and the reader beside them.
 *
 * Whatever documents, paths and errors say is put on the page as text, by make() and nothing else:
 * no markup is ever made of a string. Every request goes to this origin, by ask(). The page's
 * policy (http.c) enforces both. Where one is and what one asked stands in the address after '#'.
 */

/* ---- The page ------------------------------------------------------------------------------- */

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/* Gives an element properties and children. Strings among the children become text. */
function dress(element, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
        if (value === undefined || value === null || value === false) continue;
        if (name === "class") element.setAttribute("class", value);
        else if (name === "vars") for (const v of Object.entries(value)) element.style.setProperty(v[0], v[1]);
        else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}
const make = (tag, properties, ...children) => dress(document.createElement(tag), properties, children);
const draw = (tag, properties, ...children) => dress(document.createElementNS(SVG, tag), properties, children);
const put = (element, ...children) => element.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
const wholes = new Intl.NumberFormat("en");
const count = (n) => (typeof n === "number" ? wholes.format(n) : "–");
const many = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;
const percent = (x, digits = 0) => `${(x * 100).toFixed(digits)} %`;

function bytes(n) {
    if (typeof n !== "number") return "–";
    const units = ["bytes", "kB", "MB", "GB", "TB"]; /* powers of 1,000, as tekup has them */
    let unit = 0;
    for (; n >= 999.5 && unit < 4; unit++) n /= 1000;
    return `${unit === 0 || n >= 99.95 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

function milliseconds(ms) {
    if (typeof ms !== "number") return "–";
    return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms >= 10 ? Math.round(ms) : ms.toFixed(2)} ms`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
function ago(iso) {
    const seconds = (Date.parse(iso) - Date.now()) / 1000;
    if (!Number.isFinite(seconds)) return "never";
    const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [86400 * 30, "day", 86400], [86400 * 365, "month", 86400 * 30], [Infinity, "year", 86400 * 365]];
    if (Math.abs(seconds) < 5) return "just now";
    const [, unit, size] = steps.find(([below]) => Math.abs(seconds) < below);
    return relative.format(Math.trunc(seconds / size), unit);
}

function moment(iso) {
    return make("time", { datetime: iso, title: iso ? new Date(iso).toLocaleString() : null }, iso ? ago(iso) : "never");
}

let toastTimer = 0;
function toast(text) {
    $("toast").textContent = text;
    $("toast").classList.add("shown");
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => $("toast").classList.remove("shown"), 4000);
}

/* What fn does, once, when nobody has asked for a while. */
function later(fn, ms) {
    let timer = 0;
    return (...args) => {
        clearTimeout(timer);
        timer = setTimeout(() => fn(...args), ms);
    };
}

/* ---- Asking the daemon ---------------------------------------------------------------------- */

class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

/* `tekup console` puts the key behind '#', where no server and no history sees it. */
(function takeKey() {
    const given = /^#key=(.+)$/.exec(location.hash);
    if (!given) return;
    sessionStorage.setItem("key", decodeURIComponent(given[1]));
    history.replaceState(null, "", "#/search");
})();

function headers(more) {
    const key = sessionStorage.getItem("key");
    return key ? { ...more, "X-API-Key": key } : { ...more };
}

async function ask(path, options = {}) {
    const { method = "GET", body, signal } = options;
    let answer;
    try {
        answer = await fetch(path, {
            method, signal, cache: "no-store", redirect: "error",
            headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }),
            body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch (failure) {
        if (failure.name === "AbortError") throw failure;
        throw new Refused(0, "tekupd cannot be reached. Does it run, and is this session of the console still open?");
    }
    const said = await answer.json().catch(() => null);
    if (answer.ok) return said;
    if (answer.status === 401) openDoor();
    throw new Refused(answer.status, said?.error?.message || `tekupd answered with status ${answer.status}`);
}

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "")).toString();

function openDoor() {
    if ($("door").open) return;
    if (sessionStorage.getItem("key")) $("door-says").textContent = "The key is not, or no longer, the right one.";
    sessionStorage.removeItem("key");
    $("door").showModal();
}
$("door-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("key", $("key").value);
    $("key").value = "";
    $("door").close();
    begin();
});

/* ---- What is known of repositories ---------------------------------------------------------- */

/* One for each source and repository: its colour is the same wherever it is named. */
const repositories = new Map();
const keyOf = (source, repository) => `${source}\n${repository}`;

function known(source, repository) {
    const key = keyOf(source, repository);
    if (!repositories.has(key)) {
        repositories.set(key, { source, repository, colour: repositories.size % 12, documents: null, sync: null, config: null });
        fillPicks();
    }
    return repositories.get(key);
}

function repositoryMark(source, repository) {
    return make("span", { class: "repo", vars: { "--dot": `var(--c${known(source, repository).colour})` } }, make("span", {}, repository));
}

const fillPicks = later(() => {
    const source = $("source").value, repository = $("repository").value;
    const all = [...repositories.values()];
    const sources = [...new Set(all.map((one) => one.source))].sort();
    put($("source"), make("option", { value: "" }, "All sources"), sources.map((name) => make("option", { value: name }, name)));
    put($("repository"), make("option", { value: "" }, "All repositories"),
        all.filter((one) => !source || one.source === source).sort((a, b) => a.repository.localeCompare(b.repository))
            .map((one) => make("option", { value: one.repository }, one.repository)));
    pick($("source"), source);
    pick($("repository"), repository);
}, 0);

/* Chooses a value, also one that is not among the options yet. */
function pick(select, value) {
    if (value && ![...select.options].some((option) => option.value === value)) select.append(make("option", { value }, value));
    select.value = value;
    select.parentElement.classList.toggle("set", value !== "");
}

async function loadRepositories() {
    const [all, sources, syncs] = await Promise.all([ask("/v1/repositories"), ask("/v1/sources"), ask("/v1/sync")]);
    for (const one of repositories.values()) one.config = one.sync = null;
    for (const row of all.repositories.sort((a, b) => b.documents - a.documents)) known(row.source, row.repository).documents = row.documents;
    for (const row of sources.sources) known(row.source, row.repository).config = row;
    for (const item of syncs.items) known(item.source, item.repository).sync = item;
}

/* ---- Text ----------------------------------------------------------------------------------- */

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

/* ---- Where one is --------------------------------------------------------------------------- */

const views = { search: "Search", repositories: "Repositories", index: "Index", map: "Map" };
let here = "";

function address() {
    const [, view, rest] = /^#\/([a-z]+)(?:\?(.*))?$/.exec(location.hash) || [null, "search", ""];
    return { view: view in views ? view : "search", values: new URLSearchParams(rest || "") };
}

function goTo(view, values, push) {
    const text = query(values);
    history[push ? "pushState" : "replaceState"](null, "", `#/${view}${text ? `?${text}` : ""}`);
}

function route() {
    const { view, values } = address();
    if (view !== here) {
        here = view;
        for (const name of Object.keys(views)) $(`view-${name}`).hidden = name !== view;
        for (const link of document.querySelectorAll(".rail nav a")) {
            if (link.dataset.view === view) link.setAttribute("aria-current", "page");
            else link.removeAttribute("aria-current");
        }
        document.title = view === "search" ? "tekupdb" : `${views[view]} · tekupdb`;
        $("main").scrollTop = 0;
        if (view === "repositories") showRepositories();
        if (view === "index") showIndex();
        if (view === "map") map.show();
    }
    if (view === "search") search.take(values);
    reader.take(values.get("open"), view);
}
addEventListener("hashchange", () => {
    if (location.hash === "#main") return;
    route();
});
addEventListener("popstate", () => {
    if (location.hash.startsWith("#/")) route();
});

function visit(view) {
    location.hash = `#/${view}`;
    if (view === "search") $("query").focus();
    else if (view === "map") $("points").focus();
    else $("main").focus();
}

/* ---- Search --------------------------------------------------------------------------------- */

const search = {
    PAGE: 20,
    limit: 20,
    mode: "", /* as chosen; "" for the daemon's own choice */
    hits: [],
    asked: null,
    abort: null,

    form() {
        return {
            q: $("query").value.trim(), mode: this.mode, source: $("source").value, repository: $("repository").value,
            path: $("path").value.trim(), group: chosen("group") === "chunk" ? "chunk" : "",
            diversity: Number($("diversity").value) || "", threshold: Number($("threshold").value) || "",
        };
    },

    /* Takes the form's values from an address. */
    take(values) {
        const now = this.form();
        const same = Object.keys(now).every((name) => String(now[name]) === (values.get(name) || ""));
        if (same && this.asked !== null) return;
        if (document.activeElement !== $("query") || !same) $("query").value = values.get("q") || "";
        this.mode = ["hybrid", "vector", "text"].includes(values.get("mode")) ? values.get("mode") : "";
        if (this.mode) check("mode", this.mode);
        pick($("source"), values.get("source") || "");
        pick($("repository"), values.get("repository") || "");
        $("path").value = values.get("path") || "";
        check("group", values.get("group") === "chunk" ? "chunk" : "document");
        $("diversity").value = values.get("diversity") || 0;
        $("threshold").value = values.get("threshold") || 0;
        this.limit = this.PAGE;
        this.run();
    },

    changed() {
        this.limit = this.PAGE;
        if (here !== "search") return;
        goTo("search", { ...this.form(), open: address().values.get("open") });
        this.run();
    },

    async run() {
        const form = this.form();
        this.asked = form;
        this.abort?.abort();
        this.showFilters(form);
        if (form.q === "") {
            this.hits = [];
            $("ask").classList.remove("busy");
            put($("results"));
            put($("after-results"));
            $("summary").textContent = "";
            showWelcome();
            return;
        }
        const abort = (this.abort = new AbortController());
        $("ask").classList.add("busy");
        try {
            const answer = await ask("/v1/search", {
                method: "POST", signal: abort.signal,
                body: {
                    query: form.q, limit: this.limit, include: ["chunk", "metadata", "highlights"],
                    mode: form.mode || undefined, group: form.group || undefined, source: form.source || undefined,
                    repository: form.repository || undefined, pathPrefix: form.path || undefined,
                    diversity: form.diversity || undefined, threshold: form.threshold || undefined,
                },
            });
            if (abort.signal.aborted) return;
            this.showAnswer(answer, form);
        } catch (failure) {
            if (failure.name === "AbortError") return;
            $("summary").textContent = failure.message;
            $("summary").classList.add("bad");
            put($("welcome"));
        }
        if (this.abort === abort) $("ask").classList.remove("busy");
    },

    showFilters(form) {
        $("path").parentElement.classList.toggle("set", form.path !== "");
        $("source").parentElement.classList.toggle("set", form.source !== "");
        $("repository").parentElement.classList.toggle("set", form.repository !== "");
        $("more").classList.toggle("set", Boolean(form.group || form.diversity || form.threshold));
        $("diversity-is").textContent = form.diversity ? form.diversity.toFixed(1) : "off";
        $("threshold-is").textContent = form.threshold ? form.threshold.toFixed(2) : "any";
        $("clear").hidden = !(form.source || form.repository || form.path || form.group || form.diversity || form.threshold);
    },

    showAnswer(answer, form) {
        const names = { hybrid: "by meaning and words", vector: "by meaning", text: "by words" };
        this.hits = answer.results;
        if (answer.mode && !this.mode) check("mode", answer.mode);
        $("summary").classList.toggle("bad", Boolean(answer.partial));
        $("summary").textContent = answer.partial ? `From memory alone: ${answer.partial}`
            : `${many(answer.count, form.group ? "passage" : "document", form.group ? "passages" : "documents")} ${names[answer.mode] || ""} in ${milliseconds(answer.tookMs)}`;
        put($("welcome"), answer.count > 0 ? null : make("div", { class: "none" }, make("b", {}, "Nothing found."),
            $("clear").hidden ? "Fewer or other words may help." : "The filters may leave nothing over: clear them, or use other words."));
        const top = Math.max(...this.hits.map((hit) => hit.score || 0));
        const links = [...document.querySelectorAll(".hit")], at = links.indexOf(document.activeElement), was = links[at]?.dataset.open;
        put($("results"), this.hits.map((hit) => make("li", {}, this.hit(hit, form, top))));
        /* Who is in the list stays there. */
        if (at >= 0) ([...document.querySelectorAll(".hit")].find((link) => link.dataset.open === was) || document.querySelectorAll(".hit")[at] || $("query")).focus();
        const full = answer.count === this.limit && this.limit < 200;
        put($("after-results"), full ? make("button", { type: "button", class: "quiet", onclick: () => this.grow() }, "Show more") : null);
        this.markOpen();
    },

    async grow() {
        const from = this.hits.length;
        this.limit += this.PAGE;
        await this.run();
        $("results").children[from]?.querySelector("a").focus();
    },

    hit(hit, form, top) {
        const ranges = rangesOf(hit, form.q);
        const text = hit.chunk?.text;
        const of = typeof hit.similarity === "number" ? clamp(hit.similarity, 0, 1) : top > 0 ? hit.score / top : 0;
        const says = typeof hit.similarity === "number" ? `similarity ${hit.similarity.toFixed(3)}` : "found by its words";
        return make("a", { class: "hit", href: `#/search?${query({ ...form, open: openOf(hit) })}`, "data-open": openOf(hit), onclick: (event) => this.open(event, hit) },
            make("span", { class: "hit-head" },
                make("span", { class: "hit-name", title: hit.path }, nameOf(hit.path)),
                make("span", { class: "score", title: says }, make("i", { "aria-hidden": "true", vars: { "--of": of } }),
                    make("span", { class: "sr" }, says), make("span", { "aria-hidden": "true" }, typeof hit.similarity === "number" ? hit.similarity.toFixed(2) : "words"))),
            make("span", { class: "hit-meta" }, repositoryMark(hit.source, hit.repository), make("span", {}, hit.source),
                hit.chunk && hit.chunk.ordinal > 0 ? make("span", {}, `passage ${hit.chunk.ordinal + 1}`) : null,
                hit.updatedAt ? make("span", {}, moment(hit.updatedAt)) : null),
            text ? make("span", { class: `snippet${isProse(hit.path, hit.source) ? "" : " code"}` }, excerpt(text, ranges)) : null);
    },

    open(event, hit) {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        reader.open(openOf(hit), { hit, asked: this.asked.q, from: event.currentTarget });
    },

    markOpen() {
        for (const link of document.querySelectorAll(".hit")) {
            if (link.dataset.open === reader.shown) link.setAttribute("aria-current", "true");
            else link.removeAttribute("aria-current");
        }
    },

    /* The result at a distance from the one that has the focus. */
    step(by) {
        const links = [...document.querySelectorAll(".hit")];
        if (links.length === 0) return;
        let at = links.indexOf(document.activeElement);
        if (at < 0) at = by > 0 ? links.findIndex((link) => link.hasAttribute("aria-current")) : 0;
        if (at + by < 0) {
            $("query").focus();
            return;
        }
        const link = links[Math.min(links.length - 1, at + by)];
        link.focus();
        /* Where there is room for both the reader goes along. */
        if (reader.shown && wide.matches) this.follow();
    },
    follow: later(() => {
        const link = document.activeElement;
        if (link.classList.contains("hit") && reader.shown && reader.shown !== link.dataset.open) link.click();
    }, 120),
};

const openOf = (hit) => [hit.id, hit.chunk?.ordinal ?? 0, hit.embeddingId ?? ""].join(":");
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
function check(name, value) {
    const input = document.querySelector(`input[name="${name}"][value="${value}"]`);
    if (input) input.checked = true;
}
const wide = matchMedia("(min-width: 1181px)");

const typed = later(() => search.changed(), 90);
$("query").addEventListener("input", typed);
$("path").addEventListener("input", typed);
$("diversity").addEventListener("input", typed);
$("threshold").addEventListener("input", typed);
$("source").addEventListener("change", () => {
    $("repository").value = "";
    fillPicks();
    search.changed();
});
$("repository").addEventListener("change", () => search.changed());
$("group").addEventListener("change", () => search.changed());
$("mode").addEventListener("change", () => {
    search.mode = chosen("mode");
    search.changed();
});
$("clear").addEventListener("click", () => {
    for (const id of ["source", "repository", "path"]) $(id).value = "";
    for (const id of ["diversity", "threshold"]) $(id).value = 0;
    check("group", "document");
    fillPicks();
    search.changed();
    $("query").focus();
});
$("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("query").matches(":focus") && wide.matches === false) $("query").blur();
    search.changed();
});
document.addEventListener("pointerdown", (event) => {
    if ($("more").open && !$("more").contains(event.target)) $("more").open = false;
});

function showWelcome() {
    if ($("query").value.trim() !== "") return;
    const all = [...repositories.values()].filter((one) => one.documents > 0).sort((a, b) => b.documents - a.documents);
    const total = all.reduce((sum, one) => sum + one.documents, 0);
    if (status === null && all.length === 0) return;
    const documents = Math.max(total, status?.database?.documents || 0);
    put($("welcome"), make("div", { class: "welcome" },
        documents > 0
            ? make("h2", {}, "Search ", make("b", {}, many(documents, "document", "documents")), all.length > 1 ? ` in ${all.length} repositories.` : ".")
            : make("h2", {}, "Nothing has been taken in yet."),
        documents > 0
            ? make("p", {}, status?.embedding?.provider === "hash"
                ? "Embeddings are made by the built-in hash: it finds shared words, not shared meaning." : `Embeddings are made by ${status?.embedding?.model || "…"}.`)
            : make("p", {}, "A first round on the command line: ", make("code", {}, "tekup sources add local handbook --path /srv/handbook"), ", then ", make("code", {}, "tekup sync"), "."),
        make("div", { class: "shelves" }, all.slice(0, 24).map((one) => make("a", { href: `#/search?${query({ source: one.source, repository: one.repository })}`, onclick: () => setTimeout(() => $("query").focus()) },
            repositoryMark(one.source, one.repository), make("span", { class: "n" }, count(one.documents)))))));
}

/* ---- The reader ----------------------------------------------------------------------------- */

const reader = {
    shown: null, /* id:ordinal:embedding */
    from: null, /* what had the focus before */
    context: {},
    room: { before: 2000, after: 2000 },
    MOST: 100000, /* bytes on each side that the daemon gives */
    abort: null,

    open(what, context) {
        this.context = context || {};
        if (context?.from) this.from = context.from;
        const { view, values } = address();
        goTo(view, { ...Object.fromEntries(values), ...(view === "search" ? search.form() : {}), open: what }, this.shown === null);
        this.take(what, view, true);
    },

    close() {
        const { view, values } = address();
        values.delete("open");
        goTo(view, Object.fromEntries(values));
        const from = this.from;
        this.take(null, view);
        if (from?.isConnected) from.focus();
        else (view === "map" ? $("points") : $("query")).focus();
    },

    /* Shows what an address says. */
    take(what, view, byHand) {
        if (!what || (view !== "search" && view !== "map")) {
            this.abort?.abort();
            this.shown = this.from = null;
            $("reader").hidden = true;
            document.body.classList.remove("reading");
            search.markOpen();
            return;
        }
        if (what === this.shown) return;
        this.shown = what;
        if (!byHand) this.context = {};
        this.room = { before: 2000, after: 2000 };
        this.about = null;
        $("reader").hidden = false;
        document.body.classList.add("reading");
        document.querySelector(".about").open = false;
        put($("reader-twins"));
        put($("pages"));
        $("original").hidden = true;
        if (this.context.hit) this.head(this.context.hit);
        search.markOpen();
        this.load(true);
        this.twins();
        /* Over the list it takes the focus; beside it one goes on with the list. */
        if (byHand && !wide.matches) $("reader-title").focus();
    },

    head(of) {
        put($("reader-where"), repositoryMark(of.source, of.repository), make("span", {}, of.source));
        $("reader-title").textContent = of.path;
        this.path = of.path;
    },

    async load(scroll) {
        const [id, ordinal] = this.shown.split(":");
        const abort = (this.abort?.abort(), (this.abort = new AbortController()));
        try {
            const around = await ask(`/v1/documents/${encodeURIComponent(id)}/around?${query({ chunk: ordinal, ...this.room })}`, { signal: abort.signal });
            this.head(around);
            this.showPages(around, scroll);
            const url = webAddress(around.url);
            $("original").hidden = url === null;
            if (url) $("original").href = url;
            else $("original").removeAttribute("href");
        } catch (failure) {
            if (failure.name === "AbortError") return;
            put($("pages"), make("p", { class: "edge" }, failure.message));
        }
    },

    showPages(around, scroll) {
        const pages = $("pages");
        const fromEnd = pages.scrollHeight - pages.scrollTop;
        const hit = this.context.hit;
        const ranges = hit && hit.chunk?.text === around.chunk.text ? rangesOf(hit, this.context.asked || "") : wordsIn(around.chunk.text, this.context.asked || "");
        pages.classList.toggle("code", !isProse(around.path, around.source));
        const passage = make("pre", { class: "passage" }, marked(around.chunk.text, ranges));
        const more = (side) => this.room[side] === this.MOST ? make("p", { class: `edge${side === "after" ? " last" : ""}` }, "The document goes on beyond what is shown here.") : make("button", { type: "button", class: `edge${side === "after" ? " last" : ""}`, onclick: () => this.grow(side) }, side === "before" ? "↑ Earlier" : "↓ Further");
        put(pages,
            around.atStart ? make("p", { class: "edge" }, "Beginning of the document") : more("before"),
            around.before ? make("pre", { class: "around" }, around.before) : null, passage,
            around.after ? make("pre", { class: "around" }, around.after) : null,
            around.atEnd ? make("p", { class: "edge last" }, "End of the document") : more("after"));
        if (scroll === "before") pages.scrollTop = pages.scrollHeight - fromEnd;
        else if (scroll) {
            /* To the passage, or further in where what was found would stay below. */
            const top = passage.getBoundingClientRect().top - pages.getBoundingClientRect().top + pages.scrollTop - 60;
            const mark = passage.querySelectorAll("mark")[ranges.length > 0 ? densest(around.chunk.text, ranges, 240) : 0];
            const deep = mark ? mark.getBoundingClientRect().top - pages.getBoundingClientRect().top + pages.scrollTop - pages.clientHeight * 0.6 : 0;
            pages.scrollTop = Math.max(0, top, deep);
        }
    },

    grow(side) {
        this.room[side] = Math.min(this.MOST, this.room[side] * 5);
        this.load(side === "before" ? "before" : false).then(() => $("pages").focus());
    },

    /* Other documents that say nearly the same. */
    async twins() {
        const what = this.shown, embedding = what.split(":")[2];
        if (!embedding) return;
        try {
            const point = await map.about(Number(embedding));
            if (what !== this.shown || point.duplicates.length === 0) return;
            put($("reader-twins"), make("div", { class: "twins" }, make("h3", {}, `Nearly the same in ${many(point.duplicates.length, "other document", "other documents")}`),
                point.duplicates.map((one) => make("a", {
                    href: `#/${here}?${query({ ...Object.fromEntries(address().values), open: `${one.id}:0:${one.embeddingId}` })}`, title: one.path,
                }, make("span", {}, make("bdi", {}, one.path)), make("b", {}, one.similarity.toFixed(3))))));
        } catch {
            /* There is no index to ask; the text is there all the same. */
        }
    },

    async showAbout() {
        const what = this.shown;
        if (this.about === what) return;
        this.about = what;
        put($("about"));
        try {
            const one = await ask(`/v1/documents/${encodeURIComponent(what.split(":")[0])}`);
            if (what !== this.shown) return;
            const rows = [["source", one.source], ["repository", one.repository], ["path", one.path], ["id", one.id], ["sha", one.sha || "–"],
                ["size", bytes(utf8.encode(one.content).length)], ["created", new Date(one.createdAt).toLocaleString()], ["updated", new Date(one.updatedAt).toLocaleString()],
                ...Object.entries(one.metadata || {}).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)])];
            put($("about"), rows.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
        } catch (failure) {
            put($("about"), make("dt", {}, "Not to be had"), make("dd", {}, failure.message));
        }
    },

    async copy() {
        try {
            await navigator.clipboard.writeText(this.path);
            toast(`Copied: ${this.path}`);
        } catch {
            toast("The browser does not let the console copy here.");
        }
    },
};
$("close").addEventListener("click", () => reader.close());
$("copy").addEventListener("click", () => reader.copy());
document.querySelector(".about").addEventListener("toggle", (event) => event.target.open && reader.showAbout());

/* ---- Repositories --------------------------------------------------------------------------- */

const phases = { queued: "waits for its turn", listing: "lists what there is", documents: "takes in documents", deleting: "removes what is gone", done: "done" };

/* A row keeps its elements, so that what one is about to press does not go away. */
function repositoryRow(one) {
    if (one.row) return one.row;
    const row = (one.row = { item: make("li", {}), badge: make("span", { class: "badge" }), said: make("p", { class: "said" }),
        button: make("button", { type: "button" }), extra: make("div", { class: "progress", hidden: true }), trouble: make("p", { class: "trouble", hidden: true }) });
    row.button.addEventListener("click", () => syncOne(one));
    row.item.append(make("h2", {}, repositoryMark(one.source, one.repository), make("span", { class: "kind" }, one.source)),
        make("div", { class: "act" }, row.badge, row.button), row.said, row.extra, row.trouble);
    return row;
}

const statuses = { success: "up to date", error: "failed", in_progress: "in progress", pending: "not synced yet" };

function updateRow(one) {
    const row = repositoryRow(one);
    const progress = one.sync?.progress;
    const running = Boolean(progress) || one.sync?.status === "in_progress";
    const state = progress && !progress.running ? "queued" : running ? "in_progress" : one.sync?.status || "pending";
    const skipped = Object.entries(one.sync?.last?.skipped || {}).filter(([, n]) => n > 0);
    const left = skipped.reduce((sum, [, n]) => sum + n, 0);
    row.badge.hidden = !one.config && !one.sync;
    row.badge.className = `badge ${state}`;
    row.badge.textContent = state === "queued" ? "queued" : statuses[state] || state;
    put(row.said, make("b", {}, count(one.documents ?? 0)), one.documents === 1 ? " document" : " documents",
        one.sync?.lastSyncAt && state !== "pending" ? [running ? ", begun " : ", synced ", moment(one.sync.lastSyncAt)] : null,
        !running && one.config?.nextSyncAt ? [", next ", moment(one.config.nextSyncAt)] : null,
        !one.config && !running ? ", not registered as a source" : null,
        left > 0 && !running ? `, ${count(left)} left out: ${skipped.sort(([, a], [, b]) => b - a).map(([reason, n]) => `${count(n)} ${reason.replace(/_/g, " ")}`).join(", ")}` : null);
    row.button.hidden = !one.config;
    row.button.textContent = running ? "Cancel" : "Sync";
    row.button.className = running ? "plain danger" : "plain";
    row.button.setAttribute("aria-label", `${running ? "Cancel the sync of" : "Sync"} ${one.repository}`);
    row.trouble.hidden = running || !one.sync?.errorMessage;
    row.trouble.textContent = one.sync?.errorMessage || "";
    row.extra.hidden = !progress;
    if (progress) showProgress(row.extra, one, progress);
}

function showProgress(element, one, progress) {
    const done = progress.unchanged + progress.written + progress.failed;
    const known = progress.total > 0;
    const of = known ? clamp(done / progress.total, 0, 1) : 0;
    const end = progress.estimatedEnd ? (Date.parse(progress.estimatedEnd) - Date.now()) / 1000 : 0;
    const left = end > 90 ? `${Math.round(end / 60)} min left` : end > 1 ? `${Math.round(end)} s left` : "";
    const waits = progress.waitsFor ? `waits for ${progress.waitsFor}${progress.waitsUntil ? ` until ${new Date(progress.waitsUntil).toLocaleTimeString()}` : ""}` : "";
    let bar = element.querySelector(".bar");
    if (!bar) {
        bar = make("div", { class: "bar", role: "progressbar", "aria-label": `Sync of ${one.repository}`, "aria-valuemin": 0, "aria-valuemax": 100 }, make("i", {}));
        put(element, bar, make("p", {}));
    }
    bar.classList.toggle("unknown", !known);
    bar.firstChild.style.setProperty("--of", of);
    if (known) bar.setAttribute("aria-valuenow", Math.round(of * 100));
    else bar.removeAttribute("aria-valuenow");
    put(element.lastChild,
        make("span", {}, waits || `${phases[progress.phase] || progress.phase}${known ? `: ${count(done)} of ${count(progress.total)}` : progress.found ? `: ${count(progress.found)}` : ""}`),
        make("span", {}, [progress.written ? `${count(progress.written)} written` : "", progress.deleted ? `${count(progress.deleted)} deleted` : "",
            progress.embedded ? `${many(progress.embedded, "passage", "passages")} embedded` : "", progress.failed ? `${count(progress.failed)} failed` : "", left].filter(Boolean).join(" · ")));
}

function renderRepositories() {
    const all = [...repositories.values()].filter((one) => one.config || one.sync || one.documents > 0);
    all.sort((a, b) => Boolean(b.config) - Boolean(a.config) || a.source.localeCompare(b.source) || a.repository.localeCompare(b.repository));
    all.forEach(updateRow);
    const list = $("repositories"), rows = all.map((one) => one.row.item);
    if (rows.length !== list.children.length || rows.some((row, i) => row !== list.children[i])) put(list, rows);
    const running = all.filter((one) => one.sync?.progress).length;
    $("repositories-lead").textContent = all.length === 0 ? "None yet: tekup sources add --help says how to begin."
        : `${count(all.reduce((sum, one) => sum + (one.documents || 0), 0))} documents${running ? `, ${many(running, "sync", "syncs")} under way` : ""}`;
    $("sync-all").hidden = !all.some((one) => one.config);
}

async function showRepositories() {
    renderRepositories();
    try {
        await loadRepositories();
        renderRepositories();
    } catch (failure) {
        $("repositories-lead").textContent = failure.message;
    }
}
const refreshRepositories = later(() => (here === "repositories" ? showRepositories() : loadRepositories().then(showWelcome)).catch(() => {}), 300);

async function syncOne(one) {
    const { source, repository } = one;
    try {
        if (one.sync?.progress || one.sync?.status === "in_progress") await ask(`/v1/sync?${query({ source, repository })}`, { method: "DELETE" });
        else await ask("/v1/sync", { method: "POST", body: { source, repository } });
    } catch (failure) {
        toast(failure.message);
    }
    refreshRepositories();
}
$("sync-all").addEventListener("click", async () => {
    try {
        const { queued } = await ask("/v1/sync", { method: "POST", body: {} });
        toast(queued.length > 0 ? `${many(queued.length, "sync", "syncs")} begun.` : "Every repository is being synced already.");
    } catch (failure) {
        toast(failure.message);
    }
    refreshRepositories();
});

/* ---- Index ---------------------------------------------------------------------------------- */

let recall = null;

async function showIndex() {
    const [index, speed] = await Promise.all([ask("/v1/index").catch((failure) => failure), ask("/v1/index/speed").catch((failure) => failure), refreshStatus()]);
    if (here !== "index" || status === null) return;
    renderIndex(index, speed);
    if (recall === null && !(index instanceof Error)) measureRecall();
}

function tile(name, value, unit) {
    return make("div", {}, make("dt", {}, name), make("dd", {}, value, unit ? make("small", {}, unit) : null));
}

function renderIndex(index, speed) {
    const there = !(index instanceof Error);
    const figures = there ? index : {};
    const [size, unit] = bytes(figures.bytes).split(" ");
    const last = speed.points?.filter((point) => point.searches > 0).at(-1);
    $("index-lead").textContent = status.search.backend === "postgres" ? "Searches are answered by pgvector in the database."
        : `${figures.kernel || status.index?.kernel || "–"} kernel, ${status.embedding.model}, ${figures.dimension || 1536} dimensions`;
    put($("tiles"), tile("vectors", count(figures.vectors ?? status.database.embeddings)), tile("documents", count(status.database.documents)),
        there ? tile("memory", size, unit) : null, there ? tile("a vector", count(Math.round(figures.bytesPerVector ?? 0)), "bytes") : null,
        tile("median search", last ? milliseconds(last.p50Ms).split(" ")[0] : "–", last ? milliseconds(last.p50Ms).split(" ")[1] : ""),
        tile("searches since the start", count(status.index?.searches)));
    if (!there) put($("recall"), make("p", { class: "note" }, index.message));
    $("measure").disabled = !there;
    drawSpeed(speed);
    renderFacts();
}

async function measureRecall() {
    const sample = $("sample").value;
    $("measure").disabled = true;
    $("measure").textContent = "Measuring …";
    try {
        recall = await ask(`/v1/index/recall?${query({ sample, limit: 10 })}`);
        if (typeof recall.recall !== "number") throw new Refused(0, "Recall is measured when there are two vectors at least.");
        const missed = recall.recall >= 1 ? 0 : Math.max(1, Math.round((1 - recall.recall) * 100));
        put($("recall"), make("p", { class: "big" }, recall.recall.toFixed(recall.recall === 1 ? 2 : 4)),
            make("div", { class: "dots-row", role: "img", "aria-label": `Of 100 nearest neighbours ${100 - missed} are found` },
                Array.from({ length: 100 }, (_, i) => make("i", { class: i >= 100 - missed ? "miss" : null }))),
            make("p", { class: "note" }, `${many(recall.sample, "vector", "vectors")} of the index asked for their ${recall.limit} nearest, against exact search, with effort ${recall.ef}. Measured `, moment(recall.measuredAt), ` in ${milliseconds(recall.tookMs)}.`));
    } catch (failure) {
        put($("recall"), make("p", { class: "note" }, failure.message));
    }
    $("measure").disabled = false;
    $("measure").textContent = "Measure again";
}
$("measure").addEventListener("click", measureRecall);

/* A round number at or above. */
function roundUp(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

function drawSpeed(speed) {
    if (speed instanceof Error) {
        put($("speed"), make("p", { class: "note" }, speed.message));
        return;
    }
    const points = speed.points.filter((point) => point.searches > 0);
    if (points.length === 0) {
        put($("speed"), make("p", { class: "note" }, "Nobody has searched in the last hour."));
        return;
    }
    const W = 560, H = 200, left = 42, bottom = 22, hour = 3600e3, now = Date.now();
    const x = (at) => left + clamp(1 - (now - Date.parse(at)) / hour, 0, 1) * (W - left);
    const most = roundUp(Math.max(...points.map((point) => point.p99Ms)));
    const busiest = Math.max(...points.map((point) => point.searches));
    const y = (ms) => (H - bottom) * (1 - ms / most) + 4;
    const step = ((speed.interval || 10) * 1000 * (W - left)) / hour;
    /* A line breaks where nobody searched. */
    const line = (field) => points.map((point, i) => {
        const gap = i === 0 || Date.parse(point.at) - Date.parse(points[i - 1].at) > (speed.interval || 10) * 3500;
        return `${gap ? "M" : "L"}${x(point.at).toFixed(1)} ${y(point[field]).toFixed(1)}${gap ? "h0.01" : ""}`;
    }).join("");
    put($("speed"), draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Median ${milliseconds(points.at(-1).p50Ms)}, 99th percentile ${milliseconds(points.at(-1).p99Ms)} at last` },
        [0, 0.5, 1].map((part) => [draw("path", { class: "grid", d: `M${left} ${y(most * part)}H${W}` }),
            draw("text", { x: left - 8, y: y(most * part) + 4, "text-anchor": "end" }, part === 0 ? "0" : `${Number((most * part).toPrecision(3))} ms`)]),
        points.map((point) => {
            const h = (H - bottom - 4) * 0.55 * (point.searches / busiest);
            return draw("rect", { class: "bars", x: x(point.at) - step, y: y(0) - h, width: Math.max(1, step - 0.4), height: h });
        }),
        draw("path", { class: "line99", d: line("p99Ms") }), draw("path", { class: "line50", d: line("p50Ms") }),
        [[1, "an hour ago", "start"], [0.5, "half an hour", "middle"], [0, "now", "end"]].map(([back, text, anchor]) =>
            draw("text", { x: left + (1 - back) * (W - left), y: H - 2, "text-anchor": anchor }, text))),
    make("p", { class: "note" }, `At most ${many(busiest, "search", "searches")} in ${speed.interval || 10} s.`));
}

function renderFacts() {
    const { index, follower, snapshot, database, passthrough, embedding } = status;
    const states = { following: "follows the database", waiting: "waits for the database", loading: "is being loaded", catchingUp: "catches up", away: "the database is away" };
    const groups = [
        ["Graph", index && [["effort (ef)", count(index.ef)], ["layers", count(index.layers)], ["mean neighbours", index.meanNeighbours?.toFixed(1) ?? "–"], ["instructions", index.kernel || "–"], ["loaded in", milliseconds(index.loadSeconds * 1000)]]],
        ["Mirror", follower && [["state", states[follower.state] || follower.state], ["why", follower.reason], ["changes followed", count(follower.applied)], ["started from", follower.startedFrom || "–"],
            ["snapshot", snapshot?.saving ? "being written" : snapshot?.savedAt ? moment(snapshot.savedAt) : "none since the start"], ["changes since", count(snapshot?.changesSince)], ["failed", snapshot?.error]]],
        ["Database", [["PostgreSQL", database.serverVersion || "–"], ["it is", database.private ? "private" : "yours"], ["connected", database.connected ? "yes" : database.error || "no"], ["passages", count(database.chunks)],
            ["pgvector", database.pgvector ? "yes" : "no"], ["connections", `${database.pool.leased} of ${database.pool.size} used`]]],
        ["Embeddings", [["provider", embedding.provider || "none"], ["model", embedding.model], ["dimensions", count(embedding.dimensions)],
            ["changing to", embedding.change && `${embedding.change.to}: ${count(embedding.change.done)} of ${count(embedding.change.total)}`]]],
        ["PostgreSQL socket", passthrough && [["clients", `${count(passthrough.clients)} of ${count(passthrough.clientLimit)}`], ["server connections", `${count(passthrough.connections)} of ${count(passthrough.connectionLimit)}`], ["turned away", count(passthrough.refused)]]],
        ["Daemon", [["version", status.version], ["process", String(status.pid)], ["up since", moment(new Date(Date.now() - status.uptimeSeconds * 1000).toISOString())], ["leads", status.leader ? "yes" : "no"]]],
    ];
    put($("facts"), groups.filter(([, rows]) => rows).map(([name, rows]) => make("section", {}, make("h2", {}, name),
        make("dl", {}, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([term, value]) => [make("dt", {}, term), make("dd", {}, value)])))));
}

/* ---- The map -------------------------------------------------------------------------------- */

/* A record of a point, as GET /v1/map has it: float32 x and y, uint32 embedding, uint16 repository,
 * uint16 flags. The bytes go to the graphics card as they came. */
const RECORD = 16, TWIN = 1;

const VERTEX = `#version 300 es
    in vec2 at;
    in uint repository;
    in uint flags;
    uniform vec2 centre, scale, shift;
    uniform float size;
    uniform bool twins;
    uniform sampler2D colours;
    flat out vec4 colour;
    flat out float side;
    void main() {
        vec4 own = texelFetch(colours, ivec2(int(repository & 255u), int(repository >> 8)), 0);
        bool twin = (flags & 1u) != 0u;
        bool quiet = twins && !twin;
        side = twins && twin ? size * 1.5 + 1.0 : size;
        gl_PointSize = side;
        gl_Position = own.a == 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4((at - centre) * scale + shift, 0.0, 1.0);
        float strength = quiet ? 0.1 : twins ? 0.95 : own.a;
        colour = vec4(own.rgb * strength, strength);
    }`;
const FRAGMENT = `#version 300 es
    precision mediump float;
    flat in vec4 colour;
    flat in float side;
    out vec4 result;
    void main() {
        if (side > 2.5) {
            vec2 off = gl_PointCoord - 0.5;
            if (dot(off, off) > 0.25) discard;
        }
        result = colour;
    }`;

/* Whether WebGL has a graphics card: where it is computed by the processor, setting the pixels by
 * hand is several times faster. */
function hasGraphics() {
    const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    if (!gl) return false;
    const told = gl.getExtension("WEBGL_debug_renderer_info");
    const name = told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "";
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/* Draws points with WebGL 2; null where that cannot be had. */
function glPainter(canvas) {
    const gl = hasGraphics() ? canvas.getContext("webgl2", { antialias: false, alpha: true, depth: false }) : null;
    if (!gl) return null;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(type);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
    const place = Object.fromEntries(["centre", "scale", "shift", "size", "twins", "colours"].map((name) => [name, gl.getUniformLocation(program, name)]));
    let points = 0;
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    return {
        ratio: 2,
        load(records) {
            points = records.byteLength / RECORD;
            gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
            gl.bufferData(gl.ARRAY_BUFFER, records, gl.STATIC_DRAW);
            const at = gl.getAttribLocation(program, "at");
            gl.enableVertexAttribArray(at);
            gl.vertexAttribPointer(at, 2, gl.FLOAT, false, RECORD, 0);
            for (const [name, offset] of [["repository", 12], ["flags", 14]]) {
                const where = gl.getAttribLocation(program, name);
                if (where < 0) continue;
                gl.enableVertexAttribArray(where);
                gl.vertexAttribIPointer(where, 1, gl.UNSIGNED_SHORT, RECORD, offset);
            }
        },
        colour(rows) {
            const height = Math.max(1, Math.ceil(rows.length / 256)), pixels = new Uint8Array(256 * height * 4);
            rows.forEach((row, i) => pixels.set(row, i * 4));
            gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
        },
        paint({ width, height, x, y, k, ox, oy, size, twins }) {
            gl.viewport(0, 0, width, height);
            gl.clearColor(0, 0, 0, 0);
            gl.clear(gl.COLOR_BUFFER_BIT);
            gl.uniform2f(place.centre, x, y);
            gl.uniform2f(place.scale, (2 * k) / width, (2 * k) / height);
            gl.uniform2f(place.shift, (2 * ox) / width - 1, 1 - (2 * oy) / height);
            gl.uniform1f(place.size, size);
            gl.uniform1i(place.twins, twins ? 1 : 0);
            if (points > 0) gl.drawArrays(gl.POINTS, 0, points);
        },
    };
}

/* The same without a graphics card: discs into the pixels themselves. */
function pixelPainter(canvas) {
    const context = canvas.getContext("2d");
    let view = null, points = 0, image = null, inks = [], faint = [];
    const ink = ([r, g, b], a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
    /* Where each row of a disc begins and ends, from its middle. */
    const disc = (side) => Array.from({ length: side }, (_, row) => {
        const off = row + 0.5 - side / 2, half = side < 4 ? side / 2 : Math.sqrt(Math.max(0.25, (side * side) / 4 - off * off));
        return [Math.round(side / 2 - half), Math.round(side / 2 + half)];
    });
    return {
        ratio: 1,
        load(records) {
            view = { floats: new Float32Array(records.buffer), shorts: new Uint16Array(records.buffer) };
            points = records.byteLength / RECORD;
        },
        colour(rows) {
            inks = Uint32Array.from(rows, (row) => (row[3] === 0 ? 0 : ink(row, 215)));
            faint = Uint32Array.from(rows, (row) => (row[3] === 0 ? 0 : ink(row, 30)));
        },
        paint({ width, height, x, y, k, ox, oy, size, twins }) {
            if (!image || image.width !== width || image.height !== height) image = context.createImageData(width, height);
            const pixels = new Uint32Array(image.data.buffer), { floats, shorts } = view;
            const small = Math.max(1, Math.round(size)), large = Math.round(size * 1.5 + 1);
            const shapes = { [small]: disc(small), [large]: disc(large) };
            pixels.fill(0);
            /* Those that are near-duplicates come last, so that they lie above the others. */
            for (let pass = twins ? 0 : 1; pass < 2; pass++) {
                const tints = pass === 0 ? faint : inks, side = twins && pass === 1 ? large : small, half = side / 2, shape = shapes[side];
                for (let i = 0; i < points; i++) {
                    if (twins && (shorts[i * 8 + 7] & TWIN) !== pass) continue;
                    const tint = tints[shorts[i * 8 + 6]];
                    const px = ((floats[i * 4] - x) * k + ox - half + 0.5) | 0, py = ((y - floats[i * 4 + 1]) * k + oy - half + 0.5) | 0;
                    if (!tint || px < 1 || py < 1 || px + side > width || py + side > height) continue;
                    if (side === 2) {
                        const at = py * width + px;
                        pixels[at] = pixels[at + 1] = pixels[at + width] = pixels[at + width + 1] = tint;
                        continue;
                    }
                    for (let row = 0; row < side; row++) {
                        const line = (py + row) * width + px;
                        for (let at = line + shape[row][0], end = line + shape[row][1]; at < end; at++) pixels[at] = tint;
                    }
                }
            }
            context.putImageData(image, 0, 0);
        },
    };
}

const map = {
    painter: null,
    data: null, /* the answer of /v1/map with its points unpacked */
    off: new Set(), /* repositories that are not shown */
    view: { x: 0, y: 0, k: 1 }, /* the middle, and pixels to a unit */
    aim: null, /* where the view is on its way to */
    abouts: new Map(),
    at: -1, /* the point under the pointer or the cross */
    frame: 0,
    timer: 0,

    async show() {
        this.size();
        if (this.data) this.wake();
        clearTimeout(this.timer);
        try {
            const answer = await ask("/v1/map?limit=100000");
            if (answer.state === "computing" || (answer.state !== "ready" && !answer.points)) {
                if (!this.data) this.notice("The map is being made.", "It takes a moment for each hundred thousand passages.");
                if (answer.state === "computing" && here === "map") this.timer = setTimeout(() => this.show(), 1000);
                if (answer.state === "none") this.notice("There is no map yet.", "It appears with the first documents.");
                if (!answer.points) return;
            }
            if (this.data?.computedAt !== answer.computedAt) this.load(answer);
            this.timer = setTimeout(() => here === "map" && !document.hidden && this.show(), 60000);
        } catch (failure) {
            if (!this.data) this.notice("There is no map.", failure.message);
        }
    },

    notice(title, text) {
        $("map-notice").hidden = !title;
        if (title) put($("map-notice"), make("b", {}, title), make("span", {}, text));
    },

    load(answer) {
        const first = this.data === null;
        const text = atob(answer.points || ""), records = new Uint8Array(text.length);
        for (let i = 0; i < text.length; i++) records[i] = text.charCodeAt(i);
        const n = Math.floor(records.length / RECORD);
        this.smallestLast(records, n, answer.repositories);
        const floats = new Float32Array(records.buffer), shorts = new Uint16Array(records.buffer);
        const twins = [];
        const box = [Infinity, Infinity, -Infinity, -Infinity];
        for (let i = 0; i < n; i++) {
            const x = floats[i * 4], y = floats[i * 4 + 1];
            if (x < box[0]) box[0] = x;
            if (y < box[1]) box[1] = y;
            if (x > box[2]) box[2] = x;
            if (y > box[3]) box[3] = y;
            if (shorts[i * 8 + 7] & TWIN) twins.push(i);
        }
        this.data = { ...answer, points: null, n, floats, shorts, ids: new Uint32Array(records.buffer), box, twins };
        this.notice(n === 0 ? "There is no map yet." : "", "It appears with the first documents.");
        if (n === 0) return;
        this.sort();
        if (!this.painter) {
            this.painter = glPainter($("points")) || pixelPainter($("points"));
            this.size();
        }
        this.painter.load(records);
        this.peaks = this.findPeaks();
        this.legend();
        this.colours();
        if (first) this.fit(false);
        this.wake();
    },

    /* Puts the points of the larger repositories first, so that those of the smaller lie above them. */
    smallestLast(records, n, all) {
        const from = new Uint32Array(records.slice(0, n * RECORD).buffer), to = new Uint32Array(records.buffer);
        const order = all.map((one, index) => index).sort((a, b) => all[b].count - all[a].count);
        const rank = new Map(order.map((index, at) => [index, at])), rankOf = (i) => rank.get(from[i * 4 + 3] & 0xffff) ?? all.length;
        const next = new Uint32Array(all.length + 2);
        for (let i = 0; i < n; i++) next[rankOf(i) + 1]++;
        for (let r = 0; r <= all.length; r++) next[r + 1] += next[r];
        for (let i = 0; i < n; i++) to.set(from.subarray(i * 4, i * 4 + 4), next[rankOf(i)]++ * 4);
    },

    /* The points in cells of a grid, so that the nearest one is found in no time. */
    GRID: 256,
    cell(x, y) {
        const [x0, y0, x1, y1] = this.data.box, G = this.GRID;
        return clamp(Math.floor(((y - y0) / (y1 - y0 || 1)) * G), 0, G - 1) * G + clamp(Math.floor(((x - x0) / (x1 - x0 || 1)) * G), 0, G - 1);
    },
    sort() {
        const { n, floats } = this.data, starts = new Uint32Array(this.GRID ** 2 + 1), cells = new Uint32Array(n), order = new Uint32Array(n);
        for (let i = 0; i < n; i++) starts[(cells[i] = this.cell(floats[i * 4], floats[i * 4 + 1])) + 1]++;
        for (let c = 0; c < this.GRID ** 2; c++) starts[c + 1] += starts[c];
        const next = starts.slice();
        for (let i = 0; i < n; i++) order[next[cells[i]]++] = i;
        Object.assign(this.data, { starts, order });
    },

    /* The point nearest to a place on the canvas, within so many pixels; -1 where there is none. */
    nearest(px, py, reach) {
        if (!this.data?.n) return -1;
        const { floats, shorts, starts, order, box } = this.data, G = this.GRID;
        const x = (px - this.ox) / this.view.k + this.view.x, y = this.view.y - (py - this.oy) / this.view.k, r = reach / this.view.k;
        const column = (v) => clamp(Math.floor(((v - box[0]) / (box[2] - box[0] || 1)) * G), 0, G - 1);
        const line = (v) => clamp(Math.floor(((v - box[1]) / (box[3] - box[1] || 1)) * G), 0, G - 1);
        let best = -1, least = r * r;
        for (let row = line(y - r); row <= line(y + r); row++) {
            for (let c = row * G + column(x - r), end = row * G + column(x + r); c <= end; c++) {
                for (let j = starts[c]; j < starts[c + 1]; j++) {
                    const i = order[j], far = (floats[i * 4] - x) ** 2 + (floats[i * 4 + 1] - y) ** 2;
                    if (far < least && shorts[i * 8 + 6] < this.data.repositories.length && !this.off.has(shorts[i * 8 + 6]) && (!$("twins").checked || shorts[i * 8 + 7] & TWIN)) [best, least] = [i, far];
                }
            }
        }
        return best;
    },

    /* Where each of the larger repositories is densest: its name stands there. */
    findPeaks() {
        const { n, floats, shorts, box, repositories: all } = this.data, G = 28;
        const cells = all.map(() => new Map());
        for (let i = 0; i < n; i++) {
            const x = floats[i * 4], y = floats[i * 4 + 1];
            const key = Math.floor(((y - box[1]) / (box[3] - box[1] || 1)) * G) * (G + 1) + Math.floor(((x - box[0]) / (box[2] - box[0] || 1)) * G);
            const own = cells[shorts[i * 8 + 6]];
            if (!own) continue;
            const cell = own.get(key) || [0, 0, 0];
            cell[0]++;
            cell[1] += x;
            cell[2] += y;
            own.set(key, cell);
        }
        return all.map((one, index) => {
            const peak = [...cells[index].values()].reduce((best, cell) => (cell[0] > best[0] ? cell : best), [0, 0, 0]);
            return { index, one, x: peak[1] / peak[0], y: peak[2] / peak[0], count: peak[0] };
        }).filter((peak) => peak.count > 0 && peak.one.count >= n / 200).sort((a, b) => b.one.count - a.one.count).slice(0, 14);
    },

    legend() {
        const { data } = this;
        $("map-lead").textContent = `${many(data.n, "passage", "passages")}${data.sampled ? ", an even sample," : ""} on two principal components${data.explained ? `, ${percent(data.explained[0])} and ${percent(data.explained[1])} of the variance` : ""}.`;
        put($("legend"), data.repositories.map((one, index) => ({ one, index })).sort((a, b) => b.one.count - a.one.count).map(({ one, index }) => {
            const box = make("input", { type: "checkbox", onchange: () => this.toggle(index, box.checked) });
            box.checked = !this.off.has(index);
            return make("li", {}, make("label", { vars: { "--dot": `var(--c${known(one.source, one.repository).colour})` }, title: `${one.source} ${one.repository}` }, box,
                make("span", {}, one.repository), make("em", {}, count(one.count))));
        }));
        $("twins-count").textContent = count(data.twins.length);
        $("twins").disabled = data.twins.length === 0;
        put($("labels"), this.peaks.map((peak) => make("span", { vars: { "--dot": `var(--c${known(peak.one.source, peak.one.repository).colour})` } }, short(peak.one.repository))));
        this.widths = [...$("labels").children].map((label) => label.offsetWidth);
    },

    toggle(index, on) {
        if (on) this.off.delete(index);
        else this.off.add(index);
        this.colours();
        this.wake();
    },

    colours() {
        if (!this.painter || !this.data) return;
        const style = getComputedStyle(document.documentElement);
        const inks = Array.from({ length: 12 }, (_, i) => style.getPropertyValue(`--c${i}`).trim()).map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
        /* Where there are many, they are let through, so that density shows. */
        const strength = this.data.n > 20000 ? 150 : this.data.n > 2000 ? 190 : 225;
        this.painter.colour(this.data.repositories.map((one, index) => [...inks[known(one.source, one.repository).colour], this.off.has(index) ? 0 : strength]));
    },

    size() {
        const canvas = $("points"), ratio = Math.min(this.painter?.ratio || 2, devicePixelRatio || 1), { width, height } = canvas.getBoundingClientRect();
        if (width === 0) return;
        this.ratio = ratio;
        this.width = width;
        this.height = height;
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        /* The middle is the middle of what the legend leaves free. */
        const legend = document.querySelector(".legend").getBoundingClientRect(), low = legend.width > width * 0.6;
        this.ox = low ? width / 2 : (legend.width + 16 + width) / 2;
        this.oy = low ? (height - legend.height) / 2 : height / 2;
        const cross = document.querySelector(".cross");
        cross.style.left = `${this.ox}px`;
        cross.style.top = `${this.oy}px`;
        this.room = { width: low ? width : width - legend.width - 16, height: low ? height - legend.height : height };
    },

    fitted() {
        const [x0, y0, x1, y1] = this.data.box;
        const k = 0.9 * Math.min(this.room.width / (x1 - x0 || 1), this.room.height / (y1 - y0 || 1));
        return { x: (x0 + x1) / 2, y: (y0 + y1) / 2, k };
    },
    fit(smooth) {
        this.go(this.fitted(), smooth);
    },

    /* Moves the view, smoothly unless the person wants none of it. */
    go(view, smooth = true) {
        const least = this.fitted().k;
        view = { ...view, k: clamp(view.k, least * 0.5, least * 4000) };
        if (!smooth || matchMedia("(prefers-reduced-motion: reduce)").matches) {
            this.view = view;
            this.aim = null;
        } else this.aim = view;
        this.wake();
    },

    /* Zooms about a place on the canvas. */
    zoom(by, px = this.ox, py = this.oy, smooth = true) {
        const from = this.aim || this.view, k = clamp(from.k * by, this.fitted().k * 0.5, this.fitted().k * 4000), part = 1 / from.k - 1 / k;
        this.go({ x: from.x + (px - this.ox) * part, y: from.y - (py - this.oy) * part, k }, smooth);
    },
    pan(dx, dy, smooth) {
        const from = this.aim || this.view;
        this.go({ x: from.x - dx / from.k, y: from.y + dy / from.k, k: from.k }, smooth);
    },

    wake() {
        if (!this.frame) this.frame = requestAnimationFrame((now) => this.paint(now));
    },

    paint(now) {
        this.frame = 0;
        if (here !== "map" || !this.data?.n || !this.width) return;
        if (this.aim) {
            const part = 1 - Math.exp(-Math.min(50, now - (this.last || now - 16)) / 70), v = this.view, a = this.aim;
            const k = v.k * (a.k / v.k) ** part;
            /* The place stays under the pointer while the scale goes its way. */
            const shift = a.k === v.k ? part : (1 / v.k - 1 / k) / (1 / v.k - 1 / a.k);
            this.view = { x: v.x + (a.x - v.x) * shift, y: v.y + (a.y - v.y) * shift, k };
            if (Math.abs(Math.log(a.k / k)) < 0.002 && Math.hypot(a.x - this.view.x, a.y - this.view.y) * k < 0.3) {
                this.view = a;
                this.aim = null;
            }
        }
        this.last = this.aim ? now : 0;
        const { x, y, k } = this.view, r = this.ratio, zoomed = k / this.fitted().k;
        const size = clamp((this.data.n > 20000 ? 2.2 : this.data.n > 2000 ? 3 : 5) * zoomed ** 0.38, 1.5, 13) * r;
        this.painter.paint({ width: $("points").width, height: $("points").height, x, y, k: k * r, ox: this.ox * r, oy: this.oy * r, size, twins: $("twins").checked });
        this.placeLabels();
        if (this.at >= 0) this.placeHover();
        if (this.aim) this.wake();
    },

    screen(x, y) {
        return [(x - this.view.x) * this.view.k + this.ox, (this.view.y - y) * this.view.k + this.oy];
    },

    /* A name that would lie on a larger repository's is left out. */
    placeLabels() {
        const taken = [];
        this.peaks.forEach((peak, i) => {
            const label = $("labels").children[i], [px, py] = this.screen(peak.x, peak.y), half = this.widths[i] / 2 + 4;
            const lies = this.off.has(peak.index) || px < -half || py < 0 || px > this.width + half || py > this.height || taken.some(([x, y, w]) => Math.abs(x - px) < w + half && Math.abs(y - py) < 18);
            label.style.visibility = lies ? "hidden" : "visible";
            if (lies) return;
            taken.push([px, py, half]);
            label.style.transform = `translate(${(px - half).toFixed(1)}px, ${(py - 32).toFixed(1)}px)`;
        });
    },

    /* What a point is; asked for once. */
    about(embedding) {
        if (!this.abouts.has(embedding)) {
            if (this.abouts.size > 500) this.abouts.delete(this.abouts.keys().next().value);
            const asked = ask(`/v1/map/point?${query({ embeddingId: embedding })}`);
            asked.catch(() => this.abouts.delete(embedding));
            this.abouts.set(embedding, asked);
        }
        return this.abouts.get(embedding);
    },

    async point(i, aloud) {
        $("points").classList.toggle("over", i >= 0 && !aloud);
        if (i === this.at) return;
        this.at = i;
        $("ring").hidden = i < 0;
        if (i < 0) {
            $("hover").hidden = true;
            return;
        }
        this.placeHover();
        try {
            const one = await this.about(this.data.ids[i * 4 + 2]);
            if (this.at !== i || here !== "map") return;
            const twins = one.duplicates.length;
            put($("hover"), make("b", {}, one.path), make("span", { class: "hit-meta" }, repositoryMark(one.source, one.repository), one.chunk.ordinal > 0 ? make("span", {}, `passage ${one.chunk.ordinal + 1}`) : null),
                make("span", { class: `snippet${isProse(one.path, one.source) ? "" : " code"}` }, tidy(one.chunk.text.slice(0, 260))),
                twins ? make("p", { class: "twin" }, `Nearly the same as ${twins === 1 ? one.duplicates[0].path : `${twins} other passages`}`) : null);
            $("hover").hidden = false;
            this.placeHover();
            if (aloud) $("map-says").textContent = `${one.path}, ${one.repository}${twins ? `, ${many(twins, "near-duplicate", "near-duplicates")}` : ""}`;
        } catch {
            $("hover").hidden = true;
        }
    },

    placeHover() {
        const { floats } = this.data, [px, py] = this.screen(floats[this.at * 4], floats[this.at * 4 + 1]), card = $("hover");
        $("ring").style.transform = `translate(${px.toFixed(1)}px, ${py.toFixed(1)}px)`;
        if (card.hidden) return;
        const w = card.offsetWidth, h = card.offsetHeight;
        const left = px + 16 + w > this.width ? px - w - 16 : px + 16, top = clamp(py - h / 2, 8, Math.max(8, this.height - h - 8));
        card.style.transform = `translate(${Math.round(Math.max(8, left))}px, ${Math.round(top)}px)`;
    },

    async open(i) {
        if (i < 0) return;
        const embedding = this.data.ids[i * 4 + 2];
        try {
            const one = await this.about(embedding);
            reader.open(`${one.id}:${one.chunk.ordinal}:${embedding}`, { from: $("points"), hit: one });
        } catch (failure) {
            toast(failure.message);
        }
    },

    /* To the next near-duplicate in the order of the map, from left to right. */
    twin(by) {
        const { twins, floats } = this.data;
        if (twins.length === 0) return;
        this.tour ??= 0;
        if (this.toured !== this.data) {
            twins.sort((a, b) => floats[a * 4] - floats[b * 4]);
            this.toured = this.data;
            this.tour = by > 0 ? -1 : 0;
        }
        this.tour = (this.tour + by + twins.length) % twins.length;
        const i = twins[this.tour];
        this.go({ x: floats[i * 4], y: floats[i * 4 + 1], k: Math.max((this.aim || this.view).k, this.fitted().k * 12) });
        this.point(i, true);
    },

    centred: later(() => document.activeElement === $("points") && map.point(map.nearest(map.ox, map.oy, 60), true), 250),

    /* Whether the key was meant for the map. */
    key(event) {
        const step = event.shiftKey ? 200 : 60;
        const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
        if (!this.data?.n) return false;
        if (event.key in moves) {
            this.pan(...moves[event.key], true);
            this.centred();
        } else if (event.key === "+" || event.key === "=") this.zoom(1.6);
        else if (event.key === "-") this.zoom(1 / 1.6);
        else if (event.key === "0") this.fit(true);
        else if (event.key === "n") this.twin(1);
        else if (event.key === "p") this.twin(-1);
        else if (event.key === "Enter" && document.activeElement === $("points")) this.open(this.at >= 0 ? this.at : this.nearest(this.ox, this.oy, 60));
        else return false;
        if (["+", "=", "-", "0"].includes(event.key)) this.centred();
        return true;
    },
};

/* The last parts of a long name. */
const short = (name) => (name.length <= 24 ? name : `…${name.slice(-23)}`);

(function listenToMap() {
    const canvas = $("points"), pointers = new Map();
    let moved = 0;
    const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
        event.preventDefault();
        if (map.data?.n) map.zoom(Math.exp(-clamp(event.deltaY * (event.deltaMode === 1 ? 16 : 1), -240, 240) / (event.ctrlKey ? 90 : 320)), ...place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, place(event));
        moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
        if (!map.data?.n) return;
        const now = place(event), before = pointers.get(event.pointerId);
        if (!before) {
            if (event.pointerType === "mouse") map.point(map.nearest(...now, 10));
            return;
        }
        const others = [...pointers].filter(([id]) => id !== event.pointerId);
        const dx = now[0] - before[0], dy = now[1] - before[1];
        moved += Math.abs(dx) + Math.abs(dy);
        pointers.set(event.pointerId, now);
        canvas.classList.add("moving");
        map.aim = null;
        if (others.length === 0) map.pan(dx, dy, false);
        else {
            const [ox, oy] = others[0][1];
            map.pan(dx / 2, dy / 2, false);
            map.zoom(Math.hypot(now[0] - ox, now[1] - oy) / (Math.hypot(before[0] - ox, before[1] - oy) || 1), (now[0] + ox) / 2, (now[1] + oy) / 2, false);
        }
    });
    const up = (event) => {
        const was = pointers.delete(event.pointerId);
        canvas.classList.remove("moving");
        if (!was || event.type !== "pointerup" || moved > 6 || pointers.size > 0 || !map.data?.n) return;
        const i = map.nearest(...place(event), event.pointerType === "mouse" ? 10 : 22);
        if (i >= 0) map.open(i);
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => map.point(-1));
    canvas.addEventListener("blur", () => map.point(-1));
    canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && map.centred());
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => location.reload());
    new ResizeObserver(() => {
        if (here !== "map") return;
        map.size();
        map.wake();
    }).observe($("plane"));
    $("zoom-in").addEventListener("click", () => map.data?.n && map.zoom(2));
    $("zoom-out").addEventListener("click", () => map.data?.n && map.zoom(0.5));
    $("zoom-fit").addEventListener("click", () => map.data?.n && map.fit(true));
    $("twins").addEventListener("change", () => map.wake());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        map.colours();
        map.wake();
    });
})();

/* ---- How the daemon stands ------------------------------------------------------------------ */

let status = null;

function showState(kind, text) {
    $("state").className = `state ${kind}`;
    if ($("state").lastElementChild.textContent !== text) $("state").lastElementChild.textContent = text;
    $("state").title = text;
}

async function refreshStatus() {
    try {
        status = await ask("/v1/status");
    } catch (failure) {
        showState("bad", failure.status === 401 ? "a key is needed" : "not reached");
        return;
    }
    const { database, follower, index } = status;
    if (status.ready) showState("good", "ready");
    else if (follower?.state === "loading") showState("warn", "the index is loading");
    else showState("warn", !database.connected ? "the database is away" : "catching up");
    $("rail-figures").textContent = `${count(index?.vectors ?? database.embeddings)} vectors`;
    if (!search.mode && search.asked?.q === "") check("mode", status.embedding.provider === "hash" ? "hybrid" : "vector");
}

/* ---- What happens meanwhile ----------------------------------------------------------------- */

const counts = later(async () => {
    await refreshStatus();
    if (here === "search") showWelcome();
}, 1500);

function happened(name, data) {
    if (name === "sync") {
        if (!data.source) return;
        if (!data.status) {
            refreshRepositories();
            return;
        }
        const one = known(data.source, data.repository);
        one.sync = data;
        one.documents = data.documentCount;
        if (here === "repositories") renderRepositories();
        if (data.status !== "in_progress" && !data.progress) refreshRepositories();
    } else if (name === "document") counts();
    else if (name === "reset") refreshRepositories();
}

/* The events of the daemon, as long as the page is there. EventSource cannot send the key along. */
const live = {
    last: null,
    running: false,

    async run() {
        if (this.running) return;
        this.running = true;
        for (;;) {
            try {
                await this.follow();
            } catch {
                /* Told by the state beside the navigation; it is tried again. */
            }
            await new Promise((resolve) => setTimeout(resolve, 2000));
            if ($("door").open) break;
        }
        this.running = false;
    },

    async follow() {
        const answer = await fetch("/v1/events", { headers: headers(this.last ? { "Last-Event-ID": this.last } : {}), cache: "no-store" });
        if (!answer.ok) {
            if (answer.status === 400) this.last = null;
            return;
        }
        const stream = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "", name = "", data = "";
        for (;;) {
            const { value, done } = await stream.read();
            if (done) return;
            const lines = (rest + value).split("\n");
            rest = lines.pop();
            for (const line of lines) {
                if (line === "") {
                    if (name && data) happened(name, JSON.parse(data));
                    name = data = "";
                } else if (line.startsWith("id:")) this.last = line.slice(3).trim();
                else if (line.startsWith("event:")) name = line.slice(6).trim();
                else if (line.startsWith("data:")) data += line.slice(5);
            }
        }
    },
};

setInterval(() => {
    if (document.hidden || $("door").open) return;
    refreshStatus();
    if (here === "index") showIndex();
    if (here === "repositories") renderRepositories();
}, 10000);
document.addEventListener("visibilitychange", () => !document.hidden && refreshStatus());

/* ---- Keyboard ------------------------------------------------------------------------------- */

$("show-keys").addEventListener("click", () => $("keys").showModal());
$("skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("main").focus();
});

const MODES = ["hybrid", "vector", "text"];

document.addEventListener("keydown", (event) => {
    const on = event.target, writing = on.matches("input:not([type=radio], [type=checkbox], [type=range]), select, textarea");
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
        if ($("more").open) {
            $("more").open = false;
            $("more").firstElementChild.focus();
        } else if (reader.shown) reader.close();
        else if (on === $("query")) {
            $("query").value = "";
            search.changed();
        } else if (here === "search") $("query").focus();
        else return;
        event.preventDefault();
        return;
    }
    if (on === $("query") && event.key === "ArrowDown") {
        event.preventDefault();
        search.step(1);
        return;
    }
    if (writing) return;
    if (here === "map" && (on === $("points") || on === document.body || on === $("main") || ["n", "p"].includes(event.key)) && map.key(event)) {
        event.preventDefault();
        return;
    }
    const inResults = on.classList.contains("hit") || on === document.body || on === $("main");
    const actions = {
        "/": () => {
            if (here !== "search") visit("search");
            $("query").focus();
            $("query").select();
        },
        "?": () => $("keys").showModal(),
        1: () => visit("search"), 2: () => visit("repositories"), 3: () => visit("index"), 4: () => visit("map"),
        j: () => here === "search" && search.step(1), k: () => here === "search" && search.step(-1),
        ArrowDown: () => here === "search" && inResults && (search.step(1), true), ArrowUp: () => here === "search" && inResults && (search.step(-1), true),
        m: () => {
            if (here !== "search") return;
            search.mode = MODES[(MODES.indexOf(chosen("mode")) + 1) % 3];
            check("mode", search.mode);
            search.changed();
        },
        o: () => reader.shown && !$("original").hidden && $("original").click(),
        c: () => reader.shown && reader.copy(),
    };
    const act = actions[event.key];
    if (act && act() !== false) event.preventDefault();
});

/* ---- Beginning ------------------------------------------------------------------------------ */

async function begin() {
    live.run();
    await refreshStatus();
    if (status === null) return;
    await loadRepositories().catch(() => {});
    here = "";
    search.asked = null;
    route();
    if (here === "search") showWelcome();
}

route();
if (here === "search" && matchMedia("(hover: hover)").matches) $("query").focus();
begin();
