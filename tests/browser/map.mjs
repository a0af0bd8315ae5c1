/* The map of the documents that there are, and of 100,000 that are made up, which is to move without
 * stutter: by WebGL, and by hand where there is no graphics card. */
import { assert, given, PATIENCE, PHONE, picture, scenario, until } from "./harness.mjs";

const POINTS = given.points || 100000;

/* Clusters of seven repositories with some near-duplicates, in the form of GET /v1/map. */
function makePoints() {
    const names = ["acme/handbook", "acme/api", "acme/web", "wiki", "shared-files", "contracts", "minutes"];
    let seed = 7;
    const random = () => { /* mulberry32 */
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
    const clusters = Array.from({ length: 45 }, (_, i) => [normal() * 0.38, normal() * 0.3, 0.015 + Math.abs(normal()) * 0.05, i % names.length]);
    const records = Buffer.alloc(POINTS * 16), counts = names.map(() => 0);
    for (let i = 0; i < POINTS; i++) {
        const [x, y, wide, of] = clusters[Math.floor(random() ** 1.5 * clusters.length)];
        const repository = random() < 0.94 ? of : Math.floor(random() * names.length);
        counts[repository]++;
        records.writeFloatLE(Math.max(-1, Math.min(1, x + normal() * wide * 1.5)), i * 16);
        records.writeFloatLE(Math.max(-1, Math.min(1, y + normal() * wide)), i * 16 + 4);
        records.writeUInt32LE(i + 1, i * 16 + 8);
        records.writeUInt16LE(repository, i * 16 + 12);
        records.writeUInt16LE(random() < 0.003 ? 1 : 0, i * 16 + 14);
    }
    return {
        state: "ready", computedAt: "2026-01-01T00:00:00.000Z", count: POINTS, explained: [0.124, 0.071],
        repositories: names.map((repository, i) => ({ source: "github", repository, count: counts[i] })), points: records.toString("base64"),
    };
}

/* Where on the screen colours are, of the canvas alone. */
const inked = (page) => page.evaluate(() => {
    const from = document.querySelector("#points"), copy = document.createElement("canvas");
    copy.width = from.width;
    copy.height = from.height;
    const context = copy.getContext("2d");
    return new Promise((resolve) => requestAnimationFrame(() => {
        dispatchEvent(new Event("resize"));
        context.drawImage(from, 0, 0);
        const { data } = context.getImageData(0, 0, copy.width, copy.height);
        let n = 0;
        for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
        resolve(n);
    }));
});

/* Waits until as much is drawn as the condition wants, and says how much. */
async function drawn(page, what, condition) {
    const end = Date.now() + PATIENCE;
    for (;;) {
        const pixels = await inked(page);
        if (condition(pixels)) return pixels;
        assert.ok(Date.now() < end, `waited for ${what}: ${pixels} pixels`);
        await page.waitForTimeout(100);
    }
}

/* How much is drawn when it does not change any more. */
async function resting(page) {
    let before = -1;
    return drawn(page, "the map to rest", (pixels) => {
        const same = pixels > 0 && pixels === before;
        before = pixels;
        return same;
    });
}

/* The times between frames while something is done. */
async function frames(page, what, act) {
    const measured = page.evaluate(() => new Promise((resolve) => {
        const times = [];
        let last = performance.now();
        const tick = (now) => {
            times.push(now - last);
            last = now;
            if (times.length < 150 && !window.enough) requestAnimationFrame(tick);
            else resolve(times.slice(2));
        };
        window.enough = false;
        requestAnimationFrame(tick);
    }));
    await act();
    await page.evaluate(() => (window.enough = true));
    const times = (await measured).sort((a, b) => a - b);
    const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))].toFixed(1);
    console.log(`${what}: ${times.length} frames, median ${at(0.5)} ms, 95 % within ${at(0.95)} ms, longest ${at(1)} ms`);
    assert.ok(times.length > 10, "it moves");
}

/* What there is. */
await scenario(async (open) => {
    const page = await open({ to: "#/map" });
    await page.locator("#legend li").first().waitFor();
    assert.ok((await page.locator("#legend li").count()) >= 3);
    assert.match(await page.locator("#map-lead").textContent(), /\d+ passages on two principal components/);
    await drawn(page, "points to be drawn", (pixels) => pixels > 20);
    await page.locator("#twins").check({ force: true });
    await page.locator("#points").focus();
    await page.keyboard.press("n");
    await until(page, "what the point is", () => !document.querySelector("#hover").hidden && /ravel/.test(document.querySelector("#hover b").textContent));
    await until(page, "the view to rest", () => new Promise((resolve) => {
        const was = document.querySelector("#ring").style.transform;
        setTimeout(() => resolve(was === document.querySelector("#ring").style.transform), 300);
    }));
    assert.match(await page.locator("#hover .twin").textContent(), /Nearly the same as/);
    await picture(page, "map-twins");
    /* By the pointer: over it, and into it. */
    const ring = await page.locator("#ring").boundingBox();
    await page.mouse.move(ring.x + ring.width / 2 + 1, ring.y + ring.height / 2);
    await until(page, "the pointer to be over a point", () => document.querySelector("#points").classList.contains("over"));
    await page.mouse.down();
    await page.mouse.up();
    await until(page, "the document", () => /ravel/.test(document.querySelector("#reader-title").textContent) && document.querySelector(".passage"));
    await until(page, "its near-duplicates", () => document.querySelector(".twins a"));
    await picture(page, "map-reader");
    await page.locator("#close").click();
    /* A repository that is switched off is not there. */
    await page.locator("#twins").uncheck({ force: true });
    await page.locator("#zoom-fit").click();
    for (const box of await page.locator("#legend input").all()) await box.uncheck({ force: true });
    await drawn(page, "the points to be gone", (pixels) => pixels === 0);
});

/* 100,000. */
const answer = JSON.stringify(makePoints());
const made = async (page) => {
    await page.route("**/v1/map?*", (route) => route.fulfill({ contentType: "application/json", body: answer }));
    await page.route("**/v1/map/point?*", (route) => route.fulfill({
        contentType: "application/json",
        body: JSON.stringify({ id: "c1", source: "github", repository: "acme/handbook", path: "people/leave.md", chunk: { ordinal: 0, start: 0, end: 9, text: "A day off." }, duplicates: [] }),
    }));
};
/* The page takes a processor that draws for a graphics card here, so that this way is tested, too. */
const byWebGL = async (page) => {
    await made(page);
    await page.addInitScript(() => {
        const own = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function get(kind, options) {
            return own.call(this, kind, options && { ...options, failIfMajorPerformanceCaveat: false, preserveDrawingBuffer: true });
        };
        WebGL2RenderingContext.prototype.getExtension = () => null;
    });
};
for (const [way, before, args] of [["canvas", made, []], ["WebGL on the processor", byWebGL, ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]]]) {
    await scenario(async (open) => {
        const page = await open({ to: "#/map", before, expected: [/WebGL|GPU stall|GL Driver/] });
        await page.locator("#legend li").first().waitFor();
        assert.match(await page.locator("#map-lead").textContent(), new RegExp(`^${POINTS.toLocaleString("en")} passages`));
        await drawn(page, "many points", (pixels) => pixels > 5000);
        const by = await page.evaluate(() => (document.querySelector("#points").getContext("webgl2") ? "WebGL" : "canvas"));
        assert.equal(by, way.split(" ")[0]);
        await picture(page, `map-${way.split(" ")[0]}`);
        await frames(page, `${way}, moved`, async () => {
            await page.mouse.move(760, 420);
            await page.mouse.down();
            for (let i = 0; i < 100; i++) await page.mouse.move(760 + 220 * Math.sin(i / 12), 420 + 130 * Math.sin(i / 9));
            await page.mouse.up();
        });
        await frames(page, `${way}, zoomed`, async () => {
            for (let i = 0; i < 36; i++) {
                await page.mouse.wheel(0, i % 20 < 12 ? -120 : 160);
                await page.waitForTimeout(30);
            }
        });
    }, args);
}

/* By two fingers on a phone. */
await scenario(async (open) => {
    const page = await open({ size: PHONE, to: "#/map", before: made });
    await page.locator("#legend li").first().waitFor();
    const few = await resting(page);
    const touch = await page.context().newCDPSession(page);
    const fingers = (type, apart) => touch.send("Input.dispatchTouchEvent", { type, touchPoints: type === "touchEnd" ? [] : [{ x: 195 - apart, y: 250, id: 1 }, { x: 195 + apart, y: 250, id: 2 }] });
    await fingers("touchStart", 20);
    for (let apart = 24; apart <= 120; apart += 8) await fingers("touchMove", apart);
    await fingers("touchEnd", 0);
    await drawn(page, "the map to be larger", (pixels) => pixels !== few);
    assert.equal(await page.evaluate(() => visualViewport.scale), 1, "the page itself is not zoomed");
    await picture(page, "map-phone");
});
