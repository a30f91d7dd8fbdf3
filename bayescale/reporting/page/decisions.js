// Choose settings from the draws of a task: the page's counterpart of bayescale.decisions.allocation.

const CACHED = 12; // thresholds whose draws stay unpacked

// Return the draws of one quantity at one threshold, those of a setting together.
function drawsOf(page, task, name, k) {
  const count = task.step_flops.length;
  return unpackColumns(page.buffer, task[name], task.draws, k * count, count);
}

// Return env steps of the median run, the chance to reach the threshold and the mean number of runs until one does so,
// by setting and draw.
function outcomes(page, task, k) {
  task.cache ??= new Map();
  if (!task.cache.has(k)) {
    if (task.cache.size >= CACHED) task.cache.delete(task.cache.keys().next().value);
    const reach = drawsOf(page, task, "log_p_reach", k).map((value) => Math.exp(Math.min(value, 0)));
    task.cache.set(k, {
      steps: drawsOf(page, task, "location", k).map(Math.exp),
      reach,
      runs: reach.map((chance) => (chance > 0 ? -Math.expm1(page.most_runs * Math.log1p(-chance)) / chance : Infinity)),
    });
  }
  return task.cache.get(k);
}

// Return the run-length distribution of one setting and threshold under every draw.
function runLengths(page, task, k, setting) {
  const column = k * task.step_flops.length + setting;
  const one = (name) => unpackColumns(page.buffer, task[name], task.draws, column, 1);
  return {
    location: one("location"),
    scale: one("log_scale").map(Math.exp),
    skewness: one("skewness"),
    reach: one("log_p_reach").map((value) => Math.exp(Math.min(value, 0))),
  };
}

// Return the price of one env step with its gradient updates, by setting.
function stepCosts(task, prices) {
  return task.step_flops.map((flops) => prices.flop * flops + prices.env_step);
}

// Return the cost of a setting by draw: failed runs are paid for and repeated.
function costsOf(result, stepCost, setting, draws) {
  const costs = new Float64Array(draws);
  for (let draw = 0, at = setting * draws; draw < draws; draw++, at++) {
    costs[draw] = stepCost * result.steps[at] * result.runs[at];
  }
  return costs;
}

// Return the risk of the cost of every setting at one threshold; Infinity where the setting is no candidate.
function risksAt(page, task, k, prices, risk) {
  const result = outcomes(page, task, k);
  const costs = stepCosts(task, prices);
  const failed = new Set(task.failed[k]);
  return costs.map((stepCost, setting) => {
    if (failed.has(setting)) return Infinity;
    if (risk.kind === "run") {
      return stepCost * runQuantile(risk.level, runLengths(page, task, k, setting), page.bend);
    }
    return riskOf(costsOf(result, stepCost, setting, task.draws), risk);
  });
}

function smallest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] < values[best]) best = i;
  return best;
}

// Return the setting with the highest chance to reach the threshold, for risks that are all infinite.
function likeliest(page, task, k) {
  const { reach } = outcomes(page, task, k);
  const failed = new Set(task.failed[k]);
  const chances = task.step_flops.map((_, setting) =>
    failed.has(setting) ? 1 : -mean(reach.subarray(setting * task.draws, (setting + 1) * task.draws)),
  );
  return smallest(chances);
}

// Return the setting of least risk with its costs, for one threshold and an optional budget.
function choiceAt(page, task, k, question) {
  const risks = risksAt(page, task, k, question.prices, question.risk);
  const possible = risks.some(Number.isFinite);
  const setting = possible ? smallest(risks) : likeliest(page, task, k);
  const feasible = possible && (question.budget === null || risks[setting] <= question.budget);
  return { k, setting, feasible, risk: risks[setting], risks, ...costsAndChances(page, task, k, setting, question) };
}

// Return env steps, flops, cost, regret and chances of one setting at one threshold.
function costsAndChances(page, task, k, setting, question) {
  const result = outcomes(page, task, k);
  const stepCost = stepCosts(task, question.prices);
  const steps = result.steps.subarray(setting * task.draws, (setting + 1) * task.draws);
  const costs = costsOf(result, stepCost[setting], setting, task.draws);
  const failed = new Set(task.failed[k]);
  const least = new Float64Array(task.draws).fill(Infinity);
  for (let other = 0, at = 0; other < stepCost.length; other++) {
    if (failed.has(other)) {
      at += task.draws;
      continue;
    }
    for (let draw = 0; draw < task.draws; draw++, at++) {
      least[draw] = Math.min(least[draw], stepCost[other] * result.steps[at] * result.runs[at]);
    }
  }
  const logLimit = question.budget === null ? Infinity : Math.log(question.budget / stepCost[setting]);
  return {
    ...settingOf(task, setting),
    env_steps: summary(steps),
    flops: summary(steps.map((each) => each * task.step_flops[setting])),
    budget: summary(costs),
    regret: summary(costs.map((cost, draw) => cost / least[draw] - 1)),
    p_success: probabilityWithin(logLimit, runLengths(page, task, k, setting), page.bend),
    runs: task.counts[k].runs,
    runs_reached: task.counts[k].reached,
  };
}

function settingOf(task, setting) {
  return Object.fromEntries(Object.entries(task.settings).map(([axis, values]) => [axis, values[setting]]));
}

// Answer a question: for a return, the setting of least risk; for a budget alone, the highest return that it affords.
function answer(page, task, question) {
  if (question.k !== null) return choiceAt(page, task, question.k, question);
  let best = null;
  for (let k = 0; k < task.thresholds.length; k++) {
    const choice = choiceAt(page, task, k, question);
    if (best !== null && !choice.feasible) break;
    best = choice;
    if (!choice.feasible) break;
  }
  return best;
}

// Return, for each UTD of the candidates, the setting of least risk, with the quantiles that the charts draw.
function overUtd(page, task, k, question, risks) {
  const byUtd = new Map();
  risks.forEach((risk, setting) => {
    const utd = task.settings.utd[setting];
    if (!Number.isFinite(risk)) return;
    if (!byUtd.has(utd) || risk < risks[byUtd.get(utd)]) byUtd.set(utd, setting);
  });
  const result = outcomes(page, task, k);
  const stepCost = stepCosts(task, question.prices);
  const settings = [...byUtd.values()].sort((a, b) => task.settings.utd[a] - task.settings.utd[b]);
  return settings.map((setting) => {
    const own = [setting * task.draws, (setting + 1) * task.draws];
    return {
      ...settingOf(task, setting),
      setting,
      risk: risks[setting],
      env_steps: summary(result.steps.subarray(...own)),
      cost: summary(costsOf(result, stepCost[setting], setting, task.draws)),
      reach: summary(result.reach.subarray(...own)),
      step_flops: task.step_flops[setting],
    };
  });
}

// Return the ends of the stretch of UTDs around the best one whose risk is within a share of the least.
function flatStretch(rows, share) {
  const best = smallest(rows.map((row) => row.risk));
  const within = (row) => row.risk <= rows[best].risk * (1 + share);
  let [low, high] = [best, best];
  while (low > 0 && within(rows[low - 1])) low--;
  while (high < rows.length - 1 && within(rows[high + 1])) high++;
  return { low: rows[low].utd, high: rows[high].utd, ends: [low === 0, high === rows.length - 1] };
}

// Return the quantiles of a new run's env steps at every threshold for one setting.
function forecast(page, task, setting) {
  return task.thresholds.map((threshold, k) => {
    const lengths = runLengths(page, task, k, setting);
    const at = (level) => runQuantile(level, lengths, page.bend);
    return { threshold, q05: at(0.05), q25: at(0.25), q50: at(0.5), q75: at(0.75), q95: at(0.95), reach: mean(lengths.reach) };
  });
}
