/* state.js: how the daemon stands, at the foot of the navigation. */

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
