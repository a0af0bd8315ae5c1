/* begin.js: the beginning, when all the parts are there. */

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
