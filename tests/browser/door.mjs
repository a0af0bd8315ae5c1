/* Who may come in: the key of the address, none, a wrong one, and after the session has ended. */
import { assert, given, origin, scenario, until } from "./harness.mjs";

await scenario(async (open, browser) => {
    const page = await open();
    assert.ok(!page.url().includes("key="), "the key does not stay in the address");
    assert.ok(!page.asked.some((url) => url.includes("key=")), "and goes into none that is asked for");
    await page.reload();
    await until(page, "the state", () => document.querySelector("#state.good"));

    const fresh = await (await browser.newContext()).newPage();
    await fresh.goto(`${origin}/`);
    await fresh.locator("#door").waitFor();
    await fresh.locator("#key").fill("no such key");
    await fresh.getByRole("button", { name: "Open" }).click();
    await until(fresh, "to be told so", () => document.querySelector("#door").open && document.querySelector("#door-says").textContent.includes("not"));
    await fresh.locator("#key").fill(decodeURIComponent(given.address.split("#key=")[1]));
    await fresh.getByRole("button", { name: "Open" }).click();
    await until(fresh, "the documents", () => document.querySelector("#state.good") && document.querySelector(".welcome"));
    await fresh.locator("#query").fill("day off");
    await fresh.locator(".hit").first().waitFor();
});
