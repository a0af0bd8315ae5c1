/* index.js: what the index is like: size, recall, speed. */

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
        there ? tile("memory", size, unit) : null, there ? tile("a vector", figures.bytesPerVector ? count(Math.round(figures.bytesPerVector)) : "–", "bytes") : null,
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
