/* map.js: the passages as points on a plane. */

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
