/* keyboard.js: everything by keyboard. */

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
