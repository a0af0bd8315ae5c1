/* ask.js: asking the daemon, and the key that goes along. */

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
