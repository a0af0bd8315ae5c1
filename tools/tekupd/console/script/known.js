/* known.js: the repositories that are known, and the filters that name them. */

/* One for each source and repository: its colour is the same wherever it is named. */
const repositories = new Map();
const keyOf = (source, repository) => `${source}\n${repository}`;

function known(source, repository) {
    const key = keyOf(source, repository);
    if (!repositories.has(key)) {
        repositories.set(key, { source, repository, colour: repositories.size % 12, documents: null, sync: null, config: null });
        fillPicks();
    }
    return repositories.get(key);
}

function repositoryMark(source, repository) {
    return make("span", { class: "repo", vars: { "--dot": `var(--c${known(source, repository).colour})` } }, make("span", {}, repository));
}

const fillPicks = later(() => {
    const source = $("source").value, repository = $("repository").value;
    const all = [...repositories.values()];
    const sources = [...new Set(all.map((one) => one.source))].sort();
    put($("source"), make("option", { value: "" }, "All sources"), sources.map((name) => make("option", { value: name }, name)));
    put($("repository"), make("option", { value: "" }, "All repositories"),
        all.filter((one) => !source || one.source === source).sort((a, b) => a.repository.localeCompare(b.repository))
            .map((one) => make("option", { value: one.repository }, one.repository)));
    pick($("source"), source);
    pick($("repository"), repository);
}, 0);

/* Chooses a value, also one that is not among the options yet. */
function pick(select, value) {
    if (value && ![...select.options].some((option) => option.value === value)) select.append(make("option", { value }, value));
    select.value = value;
    select.parentElement.classList.toggle("set", value !== "");
}

async function loadRepositories() {
    const [all, sources, syncs] = await Promise.all([ask("/v1/repositories"), ask("/v1/sources"), ask("/v1/sync")]);
    for (const one of repositories.values()) one.config = one.sync = null;
    for (const row of all.repositories.sort((a, b) => b.documents - a.documents)) known(row.source, row.repository).documents = row.documents;
    for (const row of sources.sources) known(row.source, row.repository).config = row;
    for (const item of syncs.items) known(item.source, item.repository).sync = item;
}
