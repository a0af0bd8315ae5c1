/* search.js: the search, its filters and its results. */

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
            status?.database?.documents === 0 ? "Nothing has been taken in yet." : $("clear").hidden ? "Fewer or other words may help." : "The filters may leave nothing over: clear them, or use other words."));
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
