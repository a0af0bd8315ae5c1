/* Everything by keyboard: where the focus is can always be seen, and nothing catches it. */
import { assert, picture, scenario, until } from "./harness.mjs";

const focus = (page) => page.evaluate(() => {
    const on = document.activeElement, style = getComputedStyle(on), label = on.nextElementSibling && getComputedStyle(on.nextElementSibling), field = on.closest(".field") && getComputedStyle(on.closest(".field"));
    const shown = (s) => s && ((s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none");
    return { name: on.id || on.className || on.tagName, text: on.textContent.trim().slice(0, 40), visible: shown(style) || shown(label) || shown(field) };
});

await scenario(async (open) => {
    const page = await open({ to: "#/search?q=day+off" });
    await page.locator(".hit").first().waitFor();

    /* Round by Tab: each stop is to be seen, and the whole round comes to its end. */
    await page.locator("#skip").focus();
    const stops = ["skip"];
    for (let i = 0; i < 60; i++) {
        await page.keyboard.press("Tab");
        const stop = await focus(page);
        if (stop.name === "BODY" || stop.name === "skip") break;
        assert.ok(stop.visible, `no focus to be seen on ${JSON.stringify(stop)}`);
        stops.push(stop.name);
    }
    for (const wanted of ["skip", "wordmark", "query", "source", "repository", "path", "hit"]) assert.ok(stops.includes(wanted), `${wanted} in ${stops}`);

    /* The skip link. */
    await page.evaluate(() => document.querySelector("#skip").focus());
    await page.keyboard.press("Enter");
    assert.equal((await focus(page)).name, "main");

    /* From the search through the results into one, and back. */
    await page.keyboard.press("/");
    assert.equal((await focus(page)).name, "query");
    await page.keyboard.type("day off");
    await until(page, "the results", () => document.querySelector(".hit .hit-name")?.title === "people/leave.md" && document.querySelector(".hit").href.includes("q=day+off") && !document.querySelector("#ask.busy"));
    await page.keyboard.press("ArrowDown");
    assert.equal((await focus(page)).name, "hit");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await page.keyboard.press("Enter");
    await until(page, "the document", () => document.querySelector("#reader-title").textContent === "people/leave.md");
    await picture(page, "keyboard");
    /* The reader goes along with the list. */
    await page.keyboard.press("ArrowDown");
    await until(page, "the next document", () => document.activeElement.classList.contains("hit") && document.querySelector(".hit[aria-current]") === document.activeElement && document.querySelector("#reader-title").textContent !== "people/leave.md");
    await page.keyboard.press("c");
    await until(page, "the path to be copied", () => document.querySelector("#toast").textContent.startsWith("Copied"));
    await page.keyboard.press("Escape");
    await until(page, "the reader to close", () => document.querySelector("#reader").hidden);
    assert.equal((await focus(page)).name, "hit");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    assert.equal((await focus(page)).name, "query");
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#query").inputValue(), "");

    /* Letters are letters where one writes. */
    await page.keyboard.type("2?jm");
    assert.equal(await page.locator("#query").inputValue(), "2?jm");
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("m");
    await until(page, "another way to search", () => document.querySelector("input[name=mode]:checked").value === "vector");

    /* The views. */
    for (const [key, view] of [["2", "repositories"], ["3", "index"], ["4", "map"], ["1", "search"]]) {
        await page.evaluate(() => document.activeElement.blur());
        await page.keyboard.press(key);
        await until(page, `the view ${view}`, (name) => !document.querySelector(`#view-${name}`).hidden && document.querySelectorAll(".view:not([hidden])").length === 1, view);
        assert.equal(await page.locator("[aria-current=page]").getAttribute("data-view"), view);
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("?");
    assert.ok(await page.locator("#keys").isVisible());
    await picture(page, "keys");
    await page.keyboard.press("4");
    assert.ok(await page.locator("#keys").isVisible(), "a key is for what is in front");
    await page.keyboard.press("Escape");
    await until(page, "the help to close", () => !document.querySelector("#keys").open);

    /* The map. */
    await page.keyboard.press("4");
    await page.locator("#legend li").first().waitFor();
    await page.locator("#points").focus();
    await page.keyboard.press("+");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("0");
    await page.keyboard.press("n");
    await until(page, "a near-duplicate to be told", () => /near-duplicate/.test(document.querySelector("#map-says").textContent));
    await page.keyboard.press("Enter");
    await until(page, "the document", () => /ravel/.test(document.querySelector("#reader-title").textContent));
    await page.keyboard.press("Escape");
    await until(page, "the reader to close", () => document.querySelector("#reader").hidden);
    assert.equal((await focus(page)).name, "points");
});
