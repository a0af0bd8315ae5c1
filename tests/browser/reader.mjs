/* A result opened: the passage in its surroundings, the way back, the link to the original. */
import { assert, DESK, PHONE, picture, scenario, until } from "./harness.mjs";

const title = (page, path) => until(page, `${path} to be open`, (wanted) => document.querySelector("#reader-title").textContent === wanted && document.querySelector(".passage"), path);

await scenario(async (open) => {
    for (const size of [DESK, PHONE]) {
        const page = await open({ size, to: "#/search?q=day+off" });
        await page.locator(".hit", { hasText: "leave.md" }).click();
        await title(page, "people/leave.md");
        assert.match(await page.locator(".passage").textContent(), /Whoever wants a day off asks/);
        assert.ok((await page.locator(".passage mark").allTextContents()).some((word) => /day/i.test(word)));
        assert.ok((await page.locator(".pages .around").count()) === 2, "text before and after");
        const seen = await page.evaluate(() => {
            const pages = document.querySelector("#pages").getBoundingClientRect();
            return [...document.querySelectorAll(".passage mark")].some((mark) => mark.getBoundingClientRect().top >= pages.top && mark.getBoundingClientRect().bottom < pages.bottom);
        });
        assert.ok(seen, "what was found is in sight");
        assert.equal(await page.locator("#original").isVisible(), false, "a file of this machine has no address on the web");

        /* The whole of it: nothing is twice, and nothing is missing. */
        const before = page.locator("button.edge", { hasText: "Earlier" });
        while (await before.count()) {
            const length = await page.locator(".pages").evaluate((pages) => pages.textContent.length);
            await before.click();
            await until(page, "more of the text", (was) => document.querySelector(".pages").textContent.length > was, length);
        }
        const after = page.locator("button.edge", { hasText: "Further" });
        while (await after.count()) {
            const length = await page.locator(".pages").evaluate((pages) => pages.textContent.length);
            await after.click();
            await until(page, "more of the text", (was) => document.querySelector(".pages").textContent.length > was, length);
        }
        const whole = (await page.locator(".pages pre").allTextContents()).join("");
        const id = new URL(page.url()).hash.match(/open=([^%:&]+)/)[1];
        const stored = await page.evaluate(async (of) => (await (await fetch(`/v1/documents/${of}`, { headers: { "X-API-Key": sessionStorage.getItem("key") } })).json()).content, id);
        assert.equal(whole, stored);

        await page.locator("#copy").click();
        assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "people/leave.md");
        await page.locator(".about summary").click();
        await until(page, "what is known of it", () => document.querySelector("#about").textContent.includes("sha"));
        await picture(page, size === PHONE ? "reader-phone" : "reader");

        await page.keyboard.press("Escape");
        await until(page, "the reader to close", () => document.querySelector("#reader").hidden);
        assert.equal(await page.evaluate(() => document.activeElement.querySelector(".hit-name")?.title), "people/leave.md", "one is where one was");

        /* A link to the original leads into the web, tells nobody where from, and is no other. */
        await page.locator("#query").fill("expenses receipts");
        await page.locator(".hit", { hasText: "expenses.md" }).click();
        await title(page, "docs/expenses.md");
        const link = page.locator("#original");
        await link.waitFor();
        assert.equal(await link.getAttribute("href"), "https://github.com/acme/handbook/blob/main/docs/expenses.md");
        assert.equal(await link.getAttribute("rel"), "noopener noreferrer");
        assert.equal(await link.getAttribute("target"), "_blank");

        /* The address opens it again, and going back closes it. */
        await page.reload();
        await title(page, "docs/expenses.md");
        await page.locator("#close").click();
        await page.locator("#query").fill("journey train office");
        await page.locator(".hit", { hasText: "Travel copy" }).click();
        await title(page, "Travel copy");
        assert.equal(await link.isVisible(), false, "javascript: is no address");
        assert.equal(await link.getAttribute("href"), null);
        await until(page, "the near-duplicate", () => document.querySelector(".twins a")?.title === "docs/travel.md");
        await page.locator(".twins a").click();
        await title(page, "docs/travel.md");
        await page.goBack();
        await title(page, "Travel copy");
        await page.goBack();
        await until(page, "the reader to close", () => document.querySelector("#reader").hidden);
    }
});
