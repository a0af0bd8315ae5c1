/* A document that would rather be a page: its markup is text everywhere, runs nowhere, and asks for
 * nothing. Then the policy alone, as if the script had a hole. */
import { assert, given, origin, picture, scenario, until } from "./harness.mjs";
import http from "node:http";

await scenario(async (open) => {
    const page = await open({ to: "#/search?q=zebrafish" });
    await until(page, "the document", () => document.querySelector(".hit"));
    const hit = page.locator(".hit").first();
    assert.equal(await hit.locator(".hit-name").textContent(), given.path);
    assert.equal(await hit.locator(".repo").textContent(), given.repository);
    assert.ok((await hit.locator(".snippet").textContent()).includes("<img src=x onerror=alert(1)>"));
    await hit.click();
    await until(page, "its text", () => document.querySelector(".passage"));
    assert.equal((await page.locator(".pages pre").allTextContents()).join(""), given.content);
    assert.equal(await page.locator("#reader-title").textContent(), given.path);
    assert.equal(await page.locator("#original").isVisible(), false);
    await page.locator(".about summary").click();
    await until(page, "its metadata", () => document.querySelector("#about").textContent.includes("<b onclick=alert(1)>"));
    assert.ok((await page.locator("#about").textContent()).includes("javascript:alert('url')"));
    await picture(page, "hostile");

    const nothing = async () => {
        const made = await page.evaluate(() => [...document.querySelectorAll("img, iframe, form:not([id], [method]), embed, object, base, style, script:not([src]), link:not([rel=icon], [href='/console.css']), meta[http-equiv], b[onclick], body [onerror], body [onload], a[href^=javascript]")].map((element) => element.outerHTML));
        assert.deepEqual(made, []);
    };
    await nothing();
    /* Its names in the filters, in the list of repositories, and on the map. */
    await page.locator("#repository").selectOption(given.repository);
    await until(page, "the filter", () => document.querySelectorAll(".hit").length === 1);
    await page.goto(`${origin}/#/repositories`);
    await nothing();
    await page.goto(`${origin}/#/map`);
    await page.locator("#legend li", { hasText: given.repository }).waitFor();
    await nothing();
    /* An error that says what one typed, and an address that is an attack itself. */
    await page.goto(`${origin}/#/search?q=${encodeURIComponent("<img src=x onerror=alert(1)>")}&source=${encodeURIComponent("<script>alert(1)</script>")}&open=${encodeURIComponent("<b>:1:2")}`);
    await page.waitForTimeout(500);
    await nothing();
    assert.deepEqual(page.faults.filter((fault) => !/404|400/.test(fault)), []);
    page.faults.length = 0;

    /* The policy, with a server outside that counts who comes. */
    let came = 0;
    const outside = http.createServer((request, answer) => {
        came++;
        answer.end();
    });
    await new Promise((ready) => outside.listen(0, "127.0.0.1", ready));
    const elsewhere = `http://127.0.0.1:${outside.address().port}`;
    const stopped = await open({ expected: [/./] });
    const tried = await stopped.evaluate(async (there) => {
        /* What a debugger asks for is not held to the policy; what comes later is. */
        await new Promise((resolve) => setTimeout(resolve, 10));
        const results = {};
        const attempt = async (name, run) => {
            try {
                results[name] = (await run()) ?? "done";
            } catch (error) {
                results[name] = error.name;
            }
        };
        const loads = (element) => new Promise((resolve) => {
            element.onload = () => resolve("loaded");
            element.onerror = () => resolve("stopped");
            document.body.append(element);
            setTimeout(() => resolve("nothing"), 1500);
        });
        await attempt("markup", () => { document.body.innerHTML = "<p>x</p>"; });
        await attempt("eval", () => (0, eval)("1"));
        await attempt("inline script", () => {
            const script = document.createElement("script");
            script.append("window.ran = true");
            document.body.append(script);
            return String(window.ran);
        });
        await attempt("inline handler", () => {
            const link = document.createElement("a");
            link.setAttribute("onclick", "window.ran = true");
            link.click();
            return String(window.ran);
        });
        await attempt("fetch", () => fetch(there, { mode: "no-cors" }));
        await attempt("beacon", () => String(navigator.sendBeacon(there, "x")));
        await attempt("image", () => loads(Object.assign(new Image(), { src: `${there}/a.png` })));
        await attempt("style", () => loads(Object.assign(document.createElement("link"), { rel: "stylesheet", href: `${there}/a.css` })));
        await attempt("frame", () => loads(Object.assign(document.createElement("iframe"), { src: there })));
        await attempt("form", () => {
            const form = Object.assign(document.createElement("form"), { action: there, method: "post", target: "_blank" });
            document.body.append(form);
            form.submit();
        });
        await attempt("socket", () => new Promise((resolve, reject) => {
            const socket = new WebSocket(there.replace("http", "ws"));
            socket.onopen = () => resolve("open");
            socket.onerror = () => resolve("stopped");
        }));
        return results;
    }, elsewhere);
    await stopped.waitForTimeout(500);
    outside.close();
    assert.equal(came, 0, `somebody came: ${JSON.stringify(tried)}`);
    assert.equal(tried.markup, "TypeError");
    assert.ok(["EvalError", "TypeError"].includes(tried.eval), tried.eval);
    assert.notEqual(tried["inline script"], "true");
    assert.notEqual(tried["inline handler"], "true");
    stopped.faults.length = 0;

    /* Nobody frames it. */
    const frame = http.createServer((request, answer) => answer.setHeader("Content-Type", "text/html").end(`<iframe src="${origin}/"></iframe>`));
    await new Promise((ready) => frame.listen(0, "127.0.0.1", ready));
    await stopped.goto(`http://127.0.0.1:${frame.address().port}/`).catch(() => {});
    await stopped.waitForTimeout(300);
    const inside = stopped.frames().find((one) => one !== stopped.mainFrame());
    assert.ok(!inside || !(await inside.$("#query").catch(() => null)), "framed");
    frame.close();
    stopped.faults.length = 0;
});
