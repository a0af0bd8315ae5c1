/* live.js: what happens meanwhile, by GET /v1/events. */

const counts = later(async () => {
    await refreshStatus();
    if (here === "search") showWelcome();
}, 1500);

function happened(name, data) {
    if (name === "sync") {
        if (!data.source) return;
        if (!data.status) {
            refreshRepositories();
            return;
        }
        const one = known(data.source, data.repository);
        one.sync = data;
        one.documents = data.documentCount;
        if (here === "repositories") renderRepositories();
        if (data.status !== "in_progress" && !data.progress) refreshRepositories();
    } else if (name === "document") counts();
    else if (name === "reset") refreshRepositories();
}

/* The events of the daemon, as long as the page is there. EventSource cannot send the key along. */
const live = {
    last: null,
    running: false,

    async run() {
        if (this.running) return;
        this.running = true;
        for (;;) {
            try {
                await this.follow();
            } catch {
                /* Told by the state beside the navigation; it is tried again. */
            }
            await new Promise((resolve) => setTimeout(resolve, 2000));
            if ($("door").open) break;
        }
        this.running = false;
    },

    async follow() {
        const answer = await fetch("/v1/events", { headers: headers(this.last ? { "Last-Event-ID": this.last } : {}), cache: "no-store" });
        if (!answer.ok) {
            if (answer.status === 400) this.last = null;
            return;
        }
        const stream = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "", name = "", data = "";
        for (;;) {
            const { value, done } = await stream.read();
            if (done) return;
            const lines = (rest + value).split("\n");
            rest = lines.pop();
            for (const line of lines) {
                if (line === "") {
                    if (name && data) happened(name, JSON.parse(data));
                    name = data = "";
                } else if (line.startsWith("id:")) this.last = line.slice(3).trim();
                else if (line.startsWith("event:")) name = line.slice(6).trim();
                else if (line.startsWith("data:")) data += line.slice(5);
            }
        }
    },
};

setInterval(() => {
    if (document.hidden || $("door").open) return;
    refreshStatus();
    if (here === "index") showIndex();
    if (here === "repositories") renderRepositories();
}, 10000);
document.addEventListener("visibilitychange", () => !document.hidden && refreshStatus());
