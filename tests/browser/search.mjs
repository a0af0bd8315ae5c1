/* Search as one types, the words marked, filters, and the address that brings the same again. */
import { assert, picture, scenario, texts, until } from "./harness.mjs";

const first = (page) => page.locator(".hit").first();
const found = (page, path) => until(page, `${path} to be found first`, (wanted) => document.querySelector(".hit .hit-name")?.title === wanted, path);

await scenario(async (open) => {
    const page = await open();
    await until(page, "the welcome", () => document.querySelector(".welcome h2")?.textContent.includes("documents"));
    assert.match(await page.locator(".welcome h2").textContent(), /Search 18 documents in 4 repositories\./);

    /* As one types, without Enter. */
    await page.locator("#query").pressSequentially("day off", { delay: 30 });
    await found(page, "people/leave.md");
    assert.match(await page.locator("#summary").textContent(), /^\d+ documents by meaning and words in [\d.]+ ms$/);
    const marks = (await first(page).locator("mark").allTextContents()).map((word) => word.toLowerCase());
    assert.ok(marks.includes("day"), `${marks}`);
    assert.match(await first(page).locator(".snippet").textContent(), /asks the team lead a week before/);
    assert.match(page.url(), /#\/search\?q=day\+off$/);
    await picture(page, "search");

    /* The ways to search. */
    await page.getByText("Words", { exact: true }).click();
    await until(page, "a search by words", () => document.querySelector("#summary").textContent.includes("by words"));
    await found(page, "people/leave.md");
    await page.getByText("Meaning", { exact: true }).click();
    await until(page, "a search by meaning", () => / by meaning in/.test(document.querySelector("#summary").textContent));
    await page.getByText("Both", { exact: true }).click();
    await page.locator("#query").fill('"handed in with receipts"');
    await found(page, "docs/expenses.md");
    await page.locator("#query").fill("vacat*");
    await until(page, "both documents with the word", () => ["people/leave.md", "docs/expenses.md"].every((path) => [...document.querySelectorAll(".hit-name")].slice(0, 2).some((name) => name.title === path)));

    /* Filters: by source, by repository, by path. */
    await page.locator("#source").selectOption("github");
    await until(page, "documents of GitHub alone", () => document.querySelectorAll(".hit").length === 2);
    assert.deepEqual((await texts(page, "#repository option")).slice(1), ["acme/handbook"]);
    await page.locator("#source").selectOption("");
    await page.locator("#repository").selectOption("handbook");
    await until(page, "documents of one repository", () => [...document.querySelectorAll(".hit .repo")].every((name) => name.textContent === "handbook") && document.querySelector(".hit"));
    await page.locator("#path").fill("people/");
    await until(page, "documents of one directory", () => document.querySelectorAll(".hit").length === 1);
    await found(page, "people/leave.md");
    await picture(page, "search-filtered");

    /* The address brings it all again. */
    const address = page.url();
    assert.match(address, /repository=handbook/);
    await page.goto("about:blank");
    await page.goto(address);
    await found(page, "people/leave.md");
    assert.equal(await page.locator("#query").inputValue(), "vacat*");
    assert.equal(await page.locator("#path").inputValue(), "people/");
    assert.equal(await page.locator("#repository").inputValue(), "handbook");
    assert.equal(await page.locator(".hit").count(), 1);
    await page.getByText("Clear filters").click();
    await until(page, "more documents", () => document.querySelectorAll(".hit").length > 2);

    /* By passage, and not all alike. */
    await page.locator("#query").fill("journey by train booked by the office");
    await page.getByText("More", { exact: true }).click();
    await page.getByText("a passage", { exact: true }).click();
    await until(page, "passages", () => document.querySelector("#summary").textContent.includes("passages"));
    const alike = () => [...document.querySelectorAll(".hit-name")].slice(0, 2).map((name) => name.title).sort().join();
    assert.equal(await page.evaluate(alike), "Travel copy,docs/travel.md");
    await page.locator("#diversity").fill("1");
    await until(page, "the copy to make room", () => [...document.querySelectorAll(".hit-name")].slice(0, 2).filter((name) => /ravel/.test(name.title)).length === 1);
    assert.match(page.url(), /diversity=1/);
    await page.keyboard.press("Escape");

    /* What nobody wrote, and what is no search. */
    await page.locator("#query").fill("qqqxxyzzy -nothing \"");
    await page.getByText("Words", { exact: true }).click();
    await until(page, "nothing", () => document.querySelector(".none b")?.textContent === "Nothing found.");
    await page.locator("#query").fill("");
    await until(page, "the welcome", () => document.querySelector(".welcome") && !document.querySelector(".hit"));
});
