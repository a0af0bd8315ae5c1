/* repositories.js: the repositories, how each stands, and their syncs. */

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
