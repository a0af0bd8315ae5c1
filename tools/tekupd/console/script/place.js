/* place.js: which view is shown, and the address that says so. */

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
