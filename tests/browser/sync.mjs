/* Repositories: how they stand, a sync begun by its button, watched, and seen to end. */
import { assert, given, picture, scenario, until } from "./harness.mjs";
import fs from "node:fs";

await scenario(async (open) => {
    const page = await open({ to: "#/repositories" });
    const row = page.locator("#repositories li", { has: page.locator("h2", { hasText: "handbook" }).filter({ hasText: "local" }) });
    await row.getByText("up to date").waitFor();
    assert.match(await row.textContent(), /14 documents, synced /);

    /* Enough that one sees it going on: it stops in the middle until it has been seen. */
    fs.mkdirSync(`${given.root}/new`);
    for (let i = 0; i < 600; i++) fs.writeFileSync(`${given.root}/new/${i}.md`, `# Note ${i}\n\n${"Fresh words of the day. ".repeat(40)} ${i}\n`);
    fs.writeFileSync(`${given.root}/new/logo.png`, Buffer.from([0x89, 0x50, 0]));
    await row.getByRole("button", { name: "Sync handbook", exact: true }).click();
    const bar = row.getByRole("progressbar");
    await bar.waitFor();
    await row.getByText("in progress").waitFor();
    await until(page, "the bar to move", () => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) > 0 || !document.querySelector("[role=progressbar]"));
    await picture(page, "repositories");
    fs.writeFileSync(given.seen, "");
    await row.getByText("up to date").waitFor();
    await until(page, "the new count", () => [...document.querySelectorAll("#repositories .said")].some((said) => /^614 documents/.test(said.textContent)));
    assert.equal(await bar.isVisible(), false);
    assert.match(await row.locator(".said").textContent(), /, 1 left out: 1 binary$/);
    /* What has no source is there too. */
    await page.locator("#repositories li", { hasText: "not registered as a source" }).first().waitFor();
    assert.ok(page.asked.some((url) => url.endsWith("/v1/events")), "it is told, not asked every moment");

    /* A source that fails says why, and one can cancel. */
    const lost = page.locator("#repositories li", { hasText: "lost" });
    await lost.getByRole("button").click();
    await lost.getByText("failed").waitFor();
    assert.match(await lost.locator(".trouble").textContent(), /\/nowhere/);
    await page.getByRole("button", { name: "Sync all" }).click();
    await until(page, "what was begun", () => /begun|already/.test(document.querySelector("#toast").textContent));

    /* What another program does is seen without a word. */
    await page.goto(page.url().replace(/#.*/, "#/search"));
    await until(page, "the new documents to be counted", () => /618 documents/.test(document.querySelector(".welcome h2")?.textContent));
});
