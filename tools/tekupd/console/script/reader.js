/* reader.js: a document beside the view, read where the passage is. */

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
