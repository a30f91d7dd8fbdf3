// Read the controls, answer the question they ask, and draw the answer.

const byId = (id) => document.getElementById(id);
const CONTROLS = ["task", "goal", "J", "budget", "unit", "flop", "env-step", "dollars-flop", "dollars-step", "risk", "level"];
const OTHER_RETURNS = 3; // returns that the frontier shows beside the chosen one
const pause = () => new Promise((done) => setTimeout(done));
let latest = 0; // number of the newest question; an older one stops drawing

// Return the prices of a flop and of an env step in the unit that the reader chose.
function pricesAsked() {
  const number = (id) => Math.max(0, Number(byId(id).value) || 0);
  if (byId("unit").value === "dollars") {
    return { flop: number("dollars-flop") / 1e15, env_step: number("dollars-step") / 1e6 };
  }
  return { flop: number("flop"), env_step: number("env-step") };
}

// Return the question that the controls ask, or a sentence about what is wrong with it.
function questionAsked() {
  const prices = pricesAsked();
  if (!(prices.flop + prices.env_step > 0)) return "Give at least one price above 0.";
  const kind = byId("risk").value;
  const level = Number(byId("level").value);
  if (kind !== "mean" && !(level > 0 && level < 1)) return "The level must lie between 0 and 1, such as 0.9.";
  const aims = byId("goal").value;
  const budget = Number(byId("budget").value);
  if (aims !== "return" && !(budget > 0)) return "The budget must be above 0.";
  return {
    k: aims === "budget" ? null : Number(byId("J").value),
    budget: aims === "return" ? null : budget,
    prices,
    risk: { kind, level: kind === "mean" ? 0 : level },
    unit: byId("unit").value,
  };
}

// Set the budget to a little more than the expected cost, in the unit that the reader has just chosen.
function suggestBudget(page) {
  const task = page.tasks[Number(byId("task").value)];
  const prices = pricesAsked();
  if (task.refusal !== "" || !(prices.flop + prices.env_step > 0)) return;
  const { risk } = choiceAt(page, task, Number(byId("J").value), { prices, budget: null, risk: { kind: "mean", level: 0 } });
  if (Number.isFinite(risk)) byId("budget").value = Number((1.1 * risk).toPrecision(3));
}

// Fill the list of returns for a new task, starting with its headline.
function listReturns(task) {
  if (byId("J").dataset.task === task.name) return;
  byId("J").replaceChildren(
    ...task.thresholds.map((threshold, k) =>
      element("option", { value: k }, `J = ${plain(threshold)} (${task.counts[k].reached} of ${task.counts[k].runs} runs)`),
    ),
  );
  byId("J").value = Math.max(0, task.thresholds.indexOf(task.headline));
  byId("J").dataset.task = task.name;
}

// Show only the controls that the others make necessary.
function showControls() {
  const visible = {
    "J-field": byId("goal").value !== "budget",
    "budget-field": byId("goal").value !== "return",
    "level-field": byId("risk").value !== "mean",
    "own-prices": byId("unit").value === "own",
    "dollar-prices": byId("unit").value === "dollars",
  };
  for (const [id, shown] of Object.entries(visible)) byId(id).hidden = !shown;
}

function say(id, parts) {
  byId(id).replaceChildren(...parts.map((part) => (Array.isArray(part) ? element("strong", {}, part[0]) : part)));
}

function quoted(text) {
  return /^[\w.:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// Return the command that asks the same question of the whole posterior.
function commandFor(task, question) {
  const risk = question.risk.kind === "mean" ? "mean" : `${question.risk.kind}:${question.risk.level}`;
  const goal = question.k === null ? "" : ` --threshold=${task.thresholds[question.k]}`;
  const budget = question.budget === null ? "" : ` --budget=${question.budget}`;
  return (
    `bayescale allocate FIT.nc --env=${quoted(task.name)}${goal}${budget} --flop-price=${question.prices.flop}` +
    ` --env-step-price=${question.prices.env_step} --risk=${risk}`
  );
}

// Return the answer under the names that `allocate` gives its fields.
function answerFields(page, task, question, choice) {
  const { setting, k, risks, ...fields } = choice;
  const risk = question.risk.kind === "mean" ? "mean" : `${question.risk.kind}:${question.risk.level}`;
  return {
    env_id: task.name, threshold: task.thresholds[k], ...fields,
    prices: question.prices, risk_measure: risk, draws: task.draws, settings: task.step_flops.length,
  };
}

// Draw everything for the question that the controls ask now.
async function redraw(page) {
  const number = ++latest;
  document.body.dataset.state = "busy";
  const task = page.tasks[Number(byId("task").value)];
  byId("task-facts").textContent = task.facts;
  listReturns(task);
  showControls();
  const question = questionAsked();
  byId("problem").textContent = typeof question === "string" ? question : "";
  byId("live").hidden = typeof question === "string" || task.refusal !== "";
  if (typeof question !== "string" && task.refusal === "") await drawAnswer(page, task, question, () => number === latest);
  else if (task.refusal !== "") say("sentence", [["No recommendation: "], task.refusal]);
  if (number === latest && typeof question !== "string") await fillTasks(page, question, () => number === latest);
  if (number === latest) document.body.dataset.state = "done";
}

async function drawAnswer(page, task, question, current) {
  const choice = answer(page, task, question);
  const rows = overUtd(page, task, choice.k, question, choice.risks);
  const several = rows.length > 1;
  const flat = several ? flatStretch(rows, FLAT) : null;
  say("sentence", recommendation(page, task, question, choice, flat));
  const atEdge = edges(task, choice).map((axis) => AXIS_WORDS[axis]);
  byId("edge").textContent = atEdge.length ? `At the edge of the sweep: ${atEdge.join(", ")}. A better value may lie beyond; a wider sweep would show it.` : "";
  byId("answer-json").textContent = JSON.stringify(answerFields(page, task, question, choice), null, 2);
  byId("command").textContent = commandFor(task, question);
  byId("risk-words").textContent = riskWords(question.risk);
  keepInAddress();
  await pause();
  if (!current()) return;
  const table = forecast(page, task, choice.setting);
  drawRuns(page, task, choice, table);
  fillTable(byId("by-return"), ["return J", "5%", "median", "95%", "chance to reach J"], table.map((row) => [plain(row.threshold), short(row.q05), short(row.q50), short(row.q95), percent(row.reach)]), choice.k);
  for (const id of ["frontier", "cost", "chance", "utd-values"]) byId(id).hidden = !several;
  if (several) {
    drawCost(page, task, question, choice, rows, flat);
    drawChance(page, task, choice, rows);
    const size = page.sized ? [["critic parameters", (row) => short(row.model_size)]] : [];
    const columns = [["UTD", (row) => plain(row.utd)], ["batch size", (row) => plain(row.batch_size)], ["learning rate", (row) => scientific(row.learning_rate)], ...size, ["env steps", (row) => interval(row.env_steps, short)], ["flops", (row) => interval(flopsOf(row), scientific)], ["cost", (row) => interval(row.cost, (value) => costWords(value, question))], ["above the least", (row) => percent(row.risk / d3.min(rows, (each) => each.risk) - 1)], ["chance to reach J", (row) => percent(row.reach.mean)]];
    fillTable(byId("by-utd"), columns.map(([head]) => head), rows.map((row) => columns.map(([, cell]) => cell(row))), d3.minIndex(rows, (row) => row.risk));
  }
  const returns = task.thresholds.map((_, k) => k);
  const shown = d3.range(OTHER_RETURNS + 1).map((i) => Math.round((i * (returns.length - 1)) / OTHER_RETURNS));
  const others = [];
  const choices = [];
  for (const k of returns) {
    await pause();
    if (!current()) return;
    const each = k === choice.k ? choice : choiceAt(page, task, k, question);
    choices.push(each);
    const own = several && k !== choice.k && shown.includes(k) ? overUtd(page, task, k, question, each.risks) : [];
    if (own.length) others.push({ k, rows: own });
    const cells = choices.map((one) => [plain(task.thresholds[one.k]), `${one.runs_reached} of ${one.runs}`, ...choiceCells(page, task, question, one)]);
    fillTable(byId("choices"), ["return J", "runs that reached it", ...page.heads], cells, choices.findIndex((one) => one.k === choice.k));
  }
  if (several) drawFrontier(page, task, question, choice, rows, others);
}

// Fill the table of all tasks, each at its own return, under the prices and the risk of the question.
async function fillTasks(page, question, current) {
  const lines = [];
  for (const task of page.tasks) {
    await pause();
    if (!current()) return;
    if (task.refusal !== "") {
      lines.push([task.name, "", task.refusal, ...page.heads.slice(1).map(() => "")]);
      continue;
    }
    const k = question.k === null ? null : task.thresholds.indexOf(task.headline);
    const choice = answer(page, task, { ...question, k });
    lines.push([task.name, plain(task.thresholds[choice.k]), ...choiceCells(page, task, question, choice)]);
    if (task !== page.tasks[Number(byId("task").value)]) task.cache?.clear();
  }
  fillTable(byId("tasks"), ["task", "return J", ...page.heads], lines, Number(byId("task").value));
}

// Keep the controls in the page's address, so that a bookmark asks the same question again.
function keepInAddress() {
  const values = CONTROLS.map((id) => [id, byId(id).value]).filter(([id]) => !byId(id).closest("[hidden]"));
  try {
    history.replaceState(null, "", `#${new URLSearchParams(values)}`);
  } catch {
    // Some browsers refuse this for a file; the page works without it.
  }
}

// Set the controls from the page's address; unknown names and values are left alone.
function readAddress(page) {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const id of CONTROLS.filter((name) => given.has(name) && name !== "J")) {
    const control = byId(id);
    const before = control.value;
    control.value = given.get(id);
    if (control.tagName === "SELECT" && control.selectedIndex < 0) control.value = before;
  }
  listReturns(page.tasks[Number(byId("task").value)]);
  if (given.has("J") && byId("J").options[Number(given.get("J"))]) byId("J").value = given.get("J");
}

async function start() {
  const page = JSON.parse(byId("page-data").textContent);
  if (typeof DecompressionStream === "undefined") {
    byId("problem").textContent = "This browser is too old for the live part; the tables below stand.";
    return;
  }
  page.buffer = await inflate(byId("page-arrays").textContent);
  byId("task").replaceChildren(...page.tasks.map((task, i) => element("option", { value: i }, task.name)));
  readAddress(page);
  byId("controls").hidden = false;
  const update = () => redraw(page).catch(confess);
  byId("unit").addEventListener("input", () => suggestBudget(page));
  byId("controls").addEventListener("input", update);
  byId("controls").addEventListener("reset", () => {
    delete byId("J").dataset.task;
    setTimeout(update);
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("beforeprint", () => (byId("checklist").open = true));
  let width = window.innerWidth;
  window.addEventListener("resize", () => window.innerWidth !== width && ((width = window.innerWidth), update()));
  drawEvidence(page);
  await redraw(page);
}

// Say that an answer could not be drawn, and leave the error to the browser's console.
function confess(error) {
  byId("problem").textContent = `The page could not draw this answer (${error.message}). Reset the controls.`;
  document.body.dataset.state = "failed";
  throw error;
}

start().catch(confess);
