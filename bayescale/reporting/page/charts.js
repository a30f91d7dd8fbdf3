// Draw the charts of one task with Observable Plot.

const FLAT = 0.05; // a UTD is as good as the best if it costs at most this share more
const BEST = "var(--best)";
const BLUE = "var(--accent)";
const FAINT = "var(--faint)";
const UTD_LABEL = "UTD (gradient updates per env step)";

// Put a chart into its figure, with its description for people who cannot see it.
function show(id, description, options) {
  const holder = document.querySelector(`#${id} .chart`);
  const width = Math.max(300, Math.min(holder.clientWidth || 560, 720));
  holder.replaceChildren(
    Plot.plot({
      width,
      height: Math.round(Math.min(400, Math.max(300, width * 0.64))),
      marginLeft: 58,
      marginTop: 26,
      marginBottom: 46,
      marginRight: 24,
      style: { fontSize: "12px", background: "transparent", fontFamily: "inherit", overflow: "visible" },
      ariaLabel: description,
      ...options,
    }),
  );
  holder.querySelector("svg[aria-label]").setAttribute("role", "img");
}

function utdScale(values) {
  const [low, high] = d3.extent(values);
  const ticks = d3.range(Math.ceil(Math.log2(low)), Math.floor(Math.log2(high)) + 1).map((power) => 2 ** power);
  return { type: "log", base: 2, label: UTD_LABEL, labelArrow: "none", ticks: ticks.length > 1 ? ticks : [low, high], tickFormat: plain };
}

function logScale(label, format, values) {
  const [low, high] = d3.extent(values);
  const steps = high / low < 10 ? [1, 1.5, 2, 3, 5, 7] : high / low < 300 ? [1, 2, 5] : [1];
  const powers = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
  const ticks = powers.flatMap((power) => steps.map((step) => step * 10 ** power)).filter((x) => x >= low && x <= high);
  return { type: "log", label, labelArrow: "none", domain: [low, high], ticks, tickFormat: format, grid: true };
}

// Return the runs at one threshold with the env steps and flops of their first evaluation at or above it.
function runsAt(page, task, k) {
  const seen = arrayAt(page.buffer, task.observed.seen);
  const { utd, batch_size, learning_rate, model_size } = task.observed.settings;
  const count = task.thresholds.length;
  return utd.map((each, run) => {
    const steps = seen[run * count + k];
    const size = model_size?.[run] ?? task.settings.model_size[0];
    return {
      run, utd: each, batch_size: batch_size[run], learning_rate: learning_rate[run], model_size: size,
      steps: Math.abs(steps), reached: steps > 0, known: steps !== 0,
      flops: page.flops_per_sample * size * batch_size[run] * each * Math.abs(steps),
    };
  });
}

// Return the distance between two settings in logs.
function distance(one, other) {
  const axes = ["utd", "batch_size", "learning_rate", "model_size"];
  return Math.hypot(...axes.map((axis) => Math.log(one[axis] / other[axis])));
}

// Mark the runs whose setting is, of those swept at their UTD, nearest to the one of least risk there.
function markNearest(runs, rows) {
  const byUtd = d3.group(runs, (run) => run.utd);
  for (const [utd, own] of byUtd) {
    const best = rows[d3.minIndex(rows, (row) => Math.abs(Math.log(row.utd / utd)))];
    const apart = own.map((run) => distance(run, { ...best, utd }));
    const least = Math.min(...apart);
    own.forEach((run, i) => (run.near = apart[i] < least + 1e-9));
  }
  return runs;
}

function runTip(run) {
  const what = run.reached ? `reached J after ${short(run.steps)} env steps` : `ended below J after ${short(run.steps)} env steps`;
  return `fitted run: UTD ${plain(run.utd)}, batch size ${plain(run.batch_size)}, learning rate ${scientific(run.learning_rate)}\n${what}`;
}

function rowTip(page, row, question) {
  return (
    `${settingWords(page, row)}\nenv steps ${interval(row.env_steps, short)}\n` +
    `flops ${interval(flopsOf(row), scientific)}\ncost ${interval(row.cost, (value) => costWords(value, question))}\n` +
    `chance to reach J ${percent(row.reach.mean)}`
  );
}

function flopsOf(row) {
  return Object.fromEntries(Object.entries(row.env_steps).map(([name, steps]) => [name, steps * row.step_flops]));
}

function tip(rows, options) {
  return Plot.tip(rows, Plot.pointer({ fill: "var(--card)", stroke: "var(--soft)", maxRadius: 30, textPadding: 8, ...options }));
}

// Draw data against compute over UTD: the chosen return with its band, other returns behind, and the runs.
function drawFrontier(page, task, question, choice, rows, others) {
  const edge = (row, name) => ({ x: row.env_steps[name] * row.step_flops, y: row.env_steps[name] });
  const line = rows.map((row) => ({ ...edge(row, "q50"), row }));
  const band = [...rows.map((row) => edge(row, "q05")), ...rows.map((row) => edge(row, "q95")).reverse()];
  const runs = markNearest(runsAt(page, task, choice.k), rows).filter((run) => run.known && run.reached);
  const near = runs.filter((run) => run.near);
  const star = { x: choice.flops.q50, y: choice.env_steps.q50 };
  const apart = (point) => Math.abs(Math.log(point.y / star.y));
  const otherLines = others.map(({ k, rows: own }) => {
    const points = own.map((row) => edge(row, "q50"));
    return { label: `J = ${plain(task.thresholds[k])}`, points, first: apart(points[0]) > apart(points.at(-1)) }; // labels keep away from the star
  });
  const every = [...band, ...otherLines.flatMap((each) => each.points), ...near.map((run) => ({ x: run.flops, y: run.steps })), star];
  const extent = (name) => d3.extent(every, (point) => point[name]);
  const [xs, ys] = [extent("x"), extent("y")].map(([low, high]) => [low / 1.25, high * 1.25]);
  const late = Math.log(star.x / xs[0]) > 0.6 * Math.log(xs[1] / xs[0]); // the label has no room to the right
  const { flop, env_step } = question.prices;
  const total = flop * star.x + env_step * star.y;
  const same = d3.range(0, 1.001, 0.02).map((share) => xs[0] * (xs[1] / xs[0]) ** share)
    .map((x) => ({ x, y: env_step > 0 ? (total - flop * x) / env_step : NaN }))
    .filter((point) => point.y >= ys[0] && point.y <= ys[1]);
  const octaves = line.filter((point) => Math.abs(Math.log2(point.row.utd) % 1) < 1e-9 && point.row.utd !== choice.utd);
  const description =
    `Data against compute on ${task.name} for J = ${plain(task.thresholds[choice.k])}, one point per UTD at its cheapest setting. ` +
    `The recommended point has UTD ${plain(choice.utd)}, ${short(star.y)} env steps and ${scientific(star.x)} flops.`;
  show("frontier", description, {
    x: logScale("compute (training flops)", scientific, xs),
    y: logScale("data (env steps)", short, ys),
    marks: [
      Plot.dot(runs.filter((run) => !run.near), { x: "flops", y: "steps", r: 1.8, stroke: FAINT, clip: true }),
      otherLines.map((each) => Plot.line(each.points, { x: "x", y: "y", stroke: FAINT, strokeWidth: 1.5 })),
      [0, -1].map((end) => Plot.text(otherLines.filter((each) => each.first === (end === 0)), { x: (each) => each.points.at(end).x, y: (each) => each.points.at(end).y, text: "label", fill: "var(--soft)", textAnchor: "middle", dy: end === 0 ? -9 : 12, stroke: "var(--paper)", strokeWidth: 3 })),
      Plot.line(band, { x: "x", y: "y", fill: BLUE, fillOpacity: 0.22, stroke: "none", curve: "linear-closed" }),
      Plot.line(line, { x: "x", y: "y", stroke: BLUE, strokeWidth: 2.2 }),
      Plot.line(same, { x: "x", y: "y", stroke: BEST, strokeDasharray: "5 4", strokeWidth: 1.4 }),
      Plot.dot(near, { x: "flops", y: "steps", r: 2.6, stroke: "currentColor", strokeOpacity: 0.6 }),
      Plot.dot(octaves, { x: "x", y: "y", r: 3.5, fill: BLUE }),
      Plot.text(octaves, { x: "x", y: "y", text: (point) => plain(point.row.utd), dx: -9, dy: 10, fill: BLUE, fontWeight: 600, stroke: "var(--paper)", strokeWidth: 4 }),
      Plot.dot([star], { x: "x", y: "y", symbol: "star", r: 9, fill: BEST, stroke: "var(--paper)" }),
      Plot.text([star], { x: "x", y: "y", text: () => `run this: UTD ${plain(choice.utd)}`, dx: late ? -8 : 12, dy: late ? 17 : -13, textAnchor: late ? "end" : "start", fill: BEST, fontWeight: 700, stroke: "var(--paper)", strokeWidth: 4 }),
      tip(near, { x: "flops", y: "steps", title: runTip }),
      tip(line, { x: "x", y: "y", title: (point) => rowTip(page, point.row, question) }),
    ],
  });
}

// Draw the cost of each UTD over the least cost, and the stretch of UTDs that cost at most 5% more.
function drawCost(page, task, question, choice, rows, flat) {
  const least = d3.min(rows, (row) => row.risk);
  const banded = question.risk.kind !== "run"; // the risk `run` is a quantile of one run and has no posterior
  const relative = rows.map((row) => ({ utd: row.utd, y: row.risk / least, low: (banded ? row.cost.q05 : row.risk) / least, high: (banded ? row.cost.q95 : row.risk) / least, row }));
  const top = Math.min(Math.max(1.6, d3.max(relative, (each) => each.high)), 6);
  const description =
    `Cost over UTD on ${task.name}, relative to the least. Least at UTD ${plain(choice.utd)}; ` +
    `${utdWords(flat)} costs at most 5% more.`;
  const where = Math.log(Math.sqrt(flat.low * flat.high) / rows[0].utd) / Math.log(rows.at(-1).utd / rows[0].utd); // 0 left, 1 right
  show("cost", description, {
    x: utdScale(rows.map((row) => row.utd)),
    y: { label: `${question.risk.kind === "mean" ? "expected cost" : "risk of the cost"} over the least (×)`, labelArrow: "none", domain: [Math.max(0, d3.min(relative, (each) => each.low) - 0.05), top], grid: true },
    marks: [
      Plot.rect([flat], { x1: "low", x2: "high", fill: BEST, fillOpacity: 0.14 }),
      !banded ? [] : Plot.areaY(relative, { x: "utd", y1: "low", y2: "high", fill: BLUE, fillOpacity: 0.2, clip: true }),
      Plot.ruleY([1 + FLAT], { stroke: BEST, strokeDasharray: "5 4" }),
      Plot.line(relative, { x: "utd", y: "y", stroke: BLUE, strokeWidth: 2.2, clip: true }),
      Plot.dot(relative, { x: "utd", y: "y", r: 3, fill: BLUE, clip: true }),
      Plot.text([flat], { x: (each) => Math.sqrt(each.low * each.high), frameAnchor: "top", dy: 4, text: () => `within 5%:\n${utdWords(flat)}`, textAnchor: where > 0.8 ? "end" : where < 0.2 ? "start" : "middle", fill: BEST, fontWeight: 700, stroke: "var(--paper)", strokeWidth: 4 }),
      tip(relative.filter((each) => each.y <= top), { x: "utd", y: "y", title: (each) => `${percent(each.y - 1)} above the least\n${rowTip(page, each.row, question)}` }),
    ],
  });
}

// Draw the runs' climb through the returns and the forecast of one new run at the chosen setting.
function drawRuns(page, task, choice, table) {
  const runs = d3.range(task.thresholds.length).map((k) => runsAt(page, task, k));
  const apart = runs[0].map((run) => distance(run, choice));
  const least = Math.min(...apart);
  const nearest = new Set(runs[0].filter((_, i) => apart[i] < least + 1e-9).map((run) => run.run));
  const points = runs.flatMap((own, k) => own.filter((run) => run.known && run.reached).map((run) => ({ ...run, y: task.thresholds[k], near: nearest.has(run.run) })));
  const ended = [...nearest].flatMap((run) => {
    const k = runs.findIndex((own) => own[run].known && !own[run].reached);
    return k < 0 ? [] : [{ ...runs[k][run], y: task.thresholds[k] }];
  });
  const finite = (name) => table.filter((row) => Number.isFinite(row[name]));
  const lines = curvesOf(page, task, nearest);
  const ends = ["q05", "q50", "q95"].flatMap((name) => finite(name).map((row) => row[name]));
  const xs = d3.extent([...[...points, ...ended].map((point) => point.steps), ...ends]);
  const end = xs[1] * 1.1;
  const both = finite("q05").map((row) => ({ ...row, q75: Math.min(row.q75, end), q95: Math.min(row.q95, end) }));
  const nearRun = points.filter((point) => point.near);
  const setting = nearRun[0] ?? runs[0][[...nearest][0]];
  const description =
    `Return against env steps on ${task.name}: ${nearest.size} fitted runs at the swept setting nearest to the recommended one, ` +
    `and the forecast of a new run, by return: ${table.map((row) => `J ${plain(row.threshold)} at ${short(row.q50)}`).join(", ")}.`;
  show("runs", description, {
    x: logScale("env steps", short, [xs[0] / 1.1, end]),
    y: { label: "return J", labelArrow: "none", grid: true, domain: [0, 1].map((end) => task.thresholds[end ? task.thresholds.length - 1 : 0] + (end ? 1 : -1) * 0.06 * (d3.max(task.thresholds) - d3.min(task.thresholds) || 1)) },
    marks: [
      Plot.line(lines, { x: "x", y: "y", z: "z", stroke: "currentColor", strokeOpacity: 0.3, strokeWidth: 0.8, clip: true }),
      Plot.dot(points.filter((point) => !point.near), { x: "steps", y: "y", r: 1.3, fill: FAINT, clip: true }),
      both.length > 1 ? Plot.areaX(both, { x1: "q05", x2: "q95", y: "threshold", fill: BLUE, fillOpacity: 0.18 }) : [],
      both.length > 1 ? Plot.areaX(both, { x1: (row) => Math.min(row.q25, end), x2: "q75", y: "threshold", fill: BLUE, fillOpacity: 0.22 }) : Plot.link(both, { x1: "q05", x2: "q95", y1: "threshold", y2: "threshold", stroke: BLUE, strokeWidth: 3 }),
      Plot.line(finite("q50"), { x: "q50", y: "threshold", stroke: BLUE, strokeWidth: 2.2 }),
      Plot.dot(nearRun, { x: "steps", y: "y", r: 2.6, stroke: "currentColor" }),
      Plot.dot(ended, { x: "steps", y: "y", symbol: "triangle", r: 4, stroke: "currentColor", rotate: 90 }),
      tip(nearRun, { x: "steps", y: "y", title: runTip }),
      tip(finite("q50"), { x: "q50", y: "threshold", title: (row) => `new run, J = ${plain(row.threshold)}\nhalf of the runs within ${short(row.q50)} env steps\n90% interval ${short(row.q05)} to ${short(row.q95)}\nchance to reach J ${percent(row.reach)}` }),
    ],
  });
  document.querySelector("#runs .nearest").textContent =
    `${settingWords(page, setting)}, ${nearest.size} ${nearest.size === 1 ? "run" : "runs"}`;
}

// Return the learning curves of some runs as points.
function curvesOf(page, task, chosen) {
  if (!task.observed.curves) return [];
  const values = arrayAt(page.buffer, task.observed.curves.points);
  let first = 0;
  return task.observed.curves.lengths.flatMap((length, run) => {
    const own = d3.range(first, first + length).map((i) => ({ x: values[2 * i], y: values[2 * i + 1], z: run }));
    first += length;
    return chosen.has(run) ? own.filter((point) => point.x > 0) : [];
  });
}

// Draw the chance to reach the return at each UTD's cheapest setting, and the share of the fitted runs that did.
function drawChance(page, task, choice, rows) {
  const runs = runsAt(page, task, choice.k);
  const shares = [...d3.group(runs, (run) => run.utd)].map(([utd, own]) => ({ utd, reached: own.filter((run) => run.reached).length, total: own.length }));
  const description =
    `Chance that a run reaches J = ${plain(task.thresholds[choice.k])} on ${task.name}, by UTD: ` +
    `${rows.filter((_, i) => i % 4 === 0).map((row) => `UTD ${plain(row.utd)} ${percent(row.reach.mean)}`).join(", ")}.`;
  show("chance", description, {
    x: utdScale([...rows, ...shares].map((row) => row.utd)),
    y: { label: "chance to reach J (%)", labelArrow: "none", domain: [0, 100], grid: true },
    marks: [
      Plot.areaY(rows, { x: "utd", y1: (row) => 100 * row.reach.q05, y2: (row) => 100 * row.reach.q95, fill: BLUE, fillOpacity: 0.2 }),
      Plot.line(rows, { x: "utd", y: (row) => 100 * row.reach.mean, stroke: BLUE, strokeWidth: 2.2 }),
      Plot.dot(shares, { x: "utd", y: (each) => (100 * each.reached) / each.total, r: 4, stroke: "currentColor" }),
      Plot.ruleX([choice.utd], { stroke: BEST, strokeDasharray: "5 4" }),
      tip(shares, { x: "utd", y: (each) => (100 * each.reached) / each.total, title: (each) => `all fitted runs at UTD ${plain(each.utd)}\n${each.reached} of ${each.total} reached J` }),
      tip(rows, { x: "utd", y: (row) => 100 * row.reach.mean, title: (row) => `${settingWords(page, row)}\nchance ${percent(row.reach.mean)}, 90% interval ${percent(row.reach.q05)} to ${percent(row.reach.q95)}` }),
    ],
  });
}
