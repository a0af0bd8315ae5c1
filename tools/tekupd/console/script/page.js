/*
 * The console's script: four views (search, repositories, index, map) and the reader beside them.
 *
 * Whatever documents, paths and errors say is put on the page as text, by make() and nothing else:
 * no markup is ever made of a string. Every request goes to this origin, by ask(). The page's
 * policy (http/http.c) enforces both. Where one is and what one asked stands in the address after '#'.
 *
 * The files beside this one are parts of one script, /console.js: put together in the order that
 * CMakeLists.txt has, they know each other by name.
 */

/* page.js: making elements, and the words for numbers and times. */

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/* Gives an element properties and children. Strings among the children become text. */
function dress(element, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
        if (value === undefined || value === null || value === false) continue;
        if (name === "class") element.setAttribute("class", value);
        else if (name === "vars") for (const v of Object.entries(value)) element.style.setProperty(v[0], v[1]);
        else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}
const make = (tag, properties, ...children) => dress(document.createElement(tag), properties, children);
const draw = (tag, properties, ...children) => dress(document.createElementNS(SVG, tag), properties, children);
const put = (element, ...children) => element.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
const wholes = new Intl.NumberFormat("en");
const count = (n) => (typeof n === "number" ? wholes.format(n) : "–");
const many = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;
const percent = (x, digits = 0) => `${(x * 100).toFixed(digits)} %`;

function bytes(n) {
    if (typeof n !== "number") return "–";
    const units = ["bytes", "kB", "MB", "GB", "TB"]; /* powers of 1,000, as tekup has them */
    let unit = 0;
    for (; n >= 999.5 && unit < 4; unit++) n /= 1000;
    return `${unit === 0 || n >= 99.95 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

function milliseconds(ms) {
    if (typeof ms !== "number") return "–";
    return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms >= 10 ? Math.round(ms) : ms.toFixed(2)} ms`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
function ago(iso) {
    const seconds = (Date.parse(iso) - Date.now()) / 1000;
    if (!Number.isFinite(seconds)) return "never";
    const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [86400 * 30, "day", 86400], [86400 * 365, "month", 86400 * 30], [Infinity, "year", 86400 * 365]];
    if (Math.abs(seconds) < 5) return "just now";
    const [, unit, size] = steps.find(([below]) => Math.abs(seconds) < below);
    return relative.format(Math.trunc(seconds / size), unit);
}

function moment(iso) {
    return make("time", { datetime: iso, title: iso ? new Date(iso).toLocaleString() : null }, iso ? ago(iso) : "never");
}

let toastTimer = 0;
function toast(text) {
    $("toast").textContent = text;
    $("toast").classList.add("shown");
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => $("toast").classList.remove("shown"), 4000);
}

/* What fn does, once, when nobody has asked for a while. */
function later(fn, ms) {
    let timer = 0;
    return (...args) => {
        clearTimeout(timer);
        timer = setTimeout(() => fn(...args), ms);
    };
}
