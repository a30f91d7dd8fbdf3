// Write numbers, sentences and table cells.

// Return the number with three significant digits and no exponent: 0.25, 1, 16384.
function plain(value) {
  if (Math.abs(value) >= 1000) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}

// Return the number with a unit prefix and at most three digits: 50k, 1.25M.
function short(value) {
  if (!Number.isFinite(value)) return "never";
  const rounded = Number(value.toPrecision(3));
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [factor, unit] = units.find(([size]) => rounded >= size) ?? [1, ""];
  return Number((rounded / factor).toPrecision(3)) + unit;
}

// Return the number with three digits, with an exponent where it is very large or small: 5e-5, 1.23e15.
function scientific(value) {
  if (!Number.isFinite(value)) return "without end";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 0.01 && size < 1e4) return String(Number(value.toPrecision(3)));
  const [digits, exponent] = value.toExponential(2).split("e");
  return `${Number(digits)}e${Number(exponent)}`;
}

// Return the share in percent, with a decimal near 0% and 100%: 93%, 99.6%, >99.9%.
function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1%";
  if (share >= 0.9995 && share < 1) return ">99.9%";
  const near = Math.min(share, 1 - share);
  return near > 0 && near < 0.01 ? `${(100 * share).toFixed(1)}%` : `${(100 * share).toFixed(0)}%`;
}

// Return a median with the ends of its 90% interval.
function interval(quantiles, show) {
  return `${show(quantiles.q50)} (${show(quantiles.q05)} to ${show(quantiles.q95)})`;
}

// Return a stretch of UTDs in words.
function utdWords({ low, high }) {
  return low === high ? `UTD ${plain(low)}` : `UTD ${plain(low)} to ${plain(high)}`;
}

function riskWords(risk) {
  const share = percent(risk.level);
  return {
    mean: "expected cost",
    cvar: `mean cost of the worst ${percent(1 - risk.level)} of the draws`,
    prob: `cost that is not exceeded with probability ${share}`,
    run: `cost within which one new run reaches the return with probability ${share}`,
  }[risk.kind];
}

function settingWords(page, setting) {
  const size = page.sized ? `, ${short(setting.model_size)} critic parameters` : "";
  return (
    `UTD ${plain(setting.utd)}, batch size ${plain(setting.batch_size)}, ` +
    `learning rate ${scientific(setting.learning_rate)}${size}`
  );
}

// Return the words for a cost in the unit that the reader chose.
function costWords(value, question) {
  return question.unit === "dollars" && Number.isFinite(value) ? `$${scientific(value)}` : scientific(value);
}

// Return the parts of the recommendation: text, and strings in arrays for emphasis.
function recommendation(page, task, question, choice, flat) {
  const goal = `J = ${plain(task.thresholds[choice.k])}`;
  const parts = [];
  if (!choice.feasible && Number.isFinite(choice.risk)) {
    parts.push(`No setting reaches ${goal} on ${task.name} within this budget; the cheapest needs `);
    parts.push([costWords(choice.risk, question)], ": run ", [settingWords(page, choice)], ". ");
  } else if (!choice.feasible) {
    parts.push(`No budget makes one run reach ${goal} on ${task.name} as surely as you ask. The likeliest setting is `);
    parts.push([settingWords(page, choice)], ". ");
  } else {
    parts.push("To reach ", [goal], ` on ${task.name}`);
    parts.push(question.k === null ? ", the highest return that your budget affords, run " : ", run ");
    parts.push([settingWords(page, choice)], ". ");
  }
  parts.push(
    `The median run needs ${interval(choice.env_steps, short)} env steps and ${interval(choice.flops, scientific)} ` +
      `training flops; a run reaches the return with probability ${percent(choice.p_success)}` +
      `${question.budget === null ? "" : " within the budget"}` +
      ` (${choice.runs_reached} of ${choice.runs} fitted runs did). `,
  );
  if (flat !== null && flat.low < flat.high) {
    parts.push(`Any UTD from ${plain(flat.low)} to ${plain(flat.high)} costs at most 5% more, if batch size and learning rate fit it.`);
  }
  return parts;
}

const AXIS_WORDS = { utd: "UTD", batch_size: "batch size", learning_rate: "learning rate", model_size: "critic parameters" };

// Return the axes on which a choice lies at an end of the swept range.
function edges(task, choice) {
  return Object.entries(task.swept)
    .filter(([axis, [low, high]]) => low < high && !(choice[axis] > low * (1 + 1e-6) && choice[axis] < high * (1 - 1e-6)))
    .map(([axis]) => axis);
}

// Return the cells of one row of a table of choices, in the order of the heads.
function choiceCells(page, task, question, choice) {
  const atEdge = edges(task, choice);
  const mark = (axis) => (atEdge.includes(axis) ? "†" : "");
  return [
    plain(choice.utd) + mark("utd"),
    plain(choice.batch_size) + mark("batch_size"),
    scientific(choice.learning_rate) + mark("learning_rate"),
    ...(page.sized ? [short(choice.model_size) + mark("model_size")] : []),
    interval(choice.env_steps, short),
    interval(choice.flops, scientific),
    interval(choice.budget, (value) => costWords(value, question)),
    `${percent(choice.regret.mean)} (${percent(choice.regret.q95)})`,
    percent(choice.p_success),
  ];
}

// Make an element; children are elements or text, and text is never read as HTML.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Fill a table whose rows become cards on narrow screens.
function fillTable(table, heads, rows, chosen = -1) {
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element(
      "tbody",
      {},
      ...rows.map((cells, number) =>
        element(
          "tr",
          number === chosen ? { class: "chosen" } : {},
          ...cells.map((cell, i) => element(i ? "td" : "th", i ? { "data-label": heads[i] } : { scope: "row" }, cell)),
        ),
      ),
    ),
  );
}
