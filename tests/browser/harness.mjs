/*
 * harness.mjs: a browser with the console in it, for the scenarios beside this file.
 *
 * A scenario fails where a check fails, and also where the page raised an error, showed a dialog,
 * was stopped by its policy, or asked anybody but its own origin for anything.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.TEKUP_PACKAGES}/`);
const { chromium } = require("playwright-core");

export const given = JSON.parse(process.argv[2] || "{}");
export const origin = new URL(given.address).origin;
export const axe = require.resolve("axe-core/axe.min.js");
export const PATIENCE = 180000;

/* Sizes that people have. */
export const DESK = { width: 1440, height: 900 };
export const TABLET = { width: 1000, height: 760 };
export const PHONE = { width: 390, height: 844 };

/* Opens the console and gives the page; `expected` are patterns of what the page may complain of. */
export async function open(browser, { size = DESK, scheme = "light", to = "", expected = [], before } = {}) {
    const phone = size === PHONE;
    const context = await browser.newContext({
        viewport: size, colorScheme: scheme, hasTouch: phone, isMobile: phone, deviceScaleFactor: phone ? 2 : 1,
        permissions: ["clipboard-read", "clipboard-write"], acceptDownloads: false,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.faults = [];
    page.asked = [];
    const fault = (text) => expected.some((pattern) => pattern.test(text)) || page.faults.push(text);
    page.on("pageerror", (error) => fault(`error: ${error.stack}`));
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && fault(`console: ${message.text()}`));
    page.on("dialog", async (dialog) => {
        fault(`dialog: ${dialog.message()}`);
        await dialog.dismiss();
    });
    context.on("page", (other) => other !== page && fault(`opened ${other.url()}`));
    context.on("request", (request) => {
        page.asked.push(request.url());
        if (!request.url().startsWith("data:") && new URL(request.url()).origin !== origin) fault(`asked ${request.url()}`);
    });
    await before?.(page);
    await page.goto(given.address);
    await page.waitForFunction(() => document.querySelector("#state.good, #state.bad, dialog[open]"));
    if (to) await page.goto(`${origin}/${to}`);
    return page;
}

/* Runs a scenario to its end and says how it went by the exit status. */
export async function scenario(run, args = []) {
    const browser = await chromium.launch({ executablePath: process.env.TEKUP_BROWSER, args });
    const pages = [];
    try {
        await run(async (options) => {
            const page = await open(browser, options);
            pages.push(page);
            return page;
        }, browser);
        for (const page of pages) assert.deepEqual(page.faults, []);
    } catch (failure) {
        console.log(failure.stack);
        for (const page of pages) {
            if (page.isClosed()) continue;
            console.log(`page: ${page.url()} faults: ${JSON.stringify(page.faults, null, 1)}`);
            const picture = `${process.env.TEKUP_FAILURES}/failed-${pages.indexOf(page)}.png`;
            await page.screenshot({ path: picture, timeout: 5000 }).then(() => console.log(`picture: ${picture}`), () => {});
        }
        process.exitCode = 1;
    }
    await browser.close();
}

/* A picture where TEKUP_PICTURES says to keep them. */
export async function picture(page, name) {
    const folder = process.env.TEKUP_PICTURES;
    if (!folder) return;
    fs.mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: `${folder}/${name}.png` });
}

/* Waits until a condition on the page holds, and says which one did not. */
export async function until(page, what, condition, argument) {
    await page.waitForFunction(condition, argument).catch((failure) => {
        throw new Error(`waited for ${what}: ${failure.message}`);
    });
}

/* Waits until nothing moves or fades any more but what does so for ever. */
export async function rest(page) {
    await until(page, "everything to rest", () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
        resolve(document.getAnimations().every((one) => one.playState !== "running" || one.effect.getComputedTiming().endTime === Infinity));
    }))));
}

export const texts = (page, selector) => page.locator(selector).allTextContents();
export { assert };
