/* Every view in light and dark, at a desk, on a tablet and on a phone: nothing sticks out, and the
 * rules of accessibility that a program can check hold (axe). */
import { assert, axe, DESK, origin, PHONE, picture, rest, scenario, TABLET, until } from "./harness.mjs";

const views = {
    welcome: ["#/search", ".welcome h2"],
    search: ["#/search?q=day+off", ".hit mark"],
    reading: ["#/search?q=day+off", ".hit mark"],
    repositories: ["#/repositories", "#repositories .badge"],
    index: ["#/index", "#facts dd"],
    map: ["#/map", "#legend li"],
};

await scenario(async (open) => {
    const wrong = [];
    for (const [name, size] of [["desk", DESK], ["tablet", TABLET], ["phone", PHONE]]) {
        for (const scheme of ["light", "dark"]) {
            const page = await open({ size, scheme, before: (fresh) => fresh.addInitScript({ path: axe }) });
            for (const [view, [address, there]] of Object.entries(views)) {
                await page.goto(`${origin}/${address}`);
                await page.locator(there).first().waitFor();
                if (view === "reading") {
                    await page.locator(".hit").first().click();
                    await page.locator(".passage").waitFor();
                }
                if (view === "index") await until(page, "the recall", () => document.querySelector("#recall .big") && !document.querySelector("#measure").disabled);
                await rest(page);
                await picture(page, `${view}-${name}-${scheme}`);
                const out = await page.evaluate(() => [document.documentElement, document.querySelector("main"), document.querySelector("#reader")].filter((one) => !one.hidden && one.scrollWidth > one.clientWidth + 1).map((one) => `${one.tagName} ${one.scrollWidth} > ${one.clientWidth}`));
                if (out.length > 0) wrong.push(`${view} ${name} ${scheme}: ${out}`);
                const { violations, passes } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
                assert.ok(passes.some((one) => one.id === "color-contrast"), "the contrast of text is looked at");
                for (const one of violations) wrong.push(`${view} ${name} ${scheme}: ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message || ""}`).join("; ")}`);
                if (view === "reading") await page.keyboard.press("Escape");
            }
            await page.context().close();
        }
    }
    assert.deepEqual(wrong, []);
});
