// Draw the charts that show how far to trust the fit: held-out coverage, convergence and rank plots.

function drawEvidence(page) {
  if (page.held_out.length) drawHeldOut(page.held_out);
  drawConvergence(page.convergence);
  page.ranks.forEach((each, number) => drawRanks(each, `ranks-${number}`));
}

// Draw the share of held-out observations inside the 90% interval, by method and by the runs left out.
function drawHeldOut(rows) {
  const words = rows.map((row) => `${row.method}, ${row.leave_out}: ${percent(row.coverage90)}`).join("; ");
  show("held-out", `Share of held-out observations inside the central 90% interval. ${words}.`, {
    marginLeft: 130,
    marginRight: 76, // the runs left out are named to the right
    x: { label: "held-out observations inside the 90% interval (%)", labelArrow: "none", domain: [0, 100], grid: true },
    y: { label: null, domain: [...new Set(rows.map((row) => row.method))] },
    fy: { label: null },
    marks: [
      Plot.ruleX([90], { stroke: BEST, strokeDasharray: "5 4" }),
      Plot.dot(rows, { x: (row) => 100 * row.coverage90, y: "method", fy: "leave_out", r: 5, fill: BLUE }),
      tip(rows, { x: (row) => 100 * row.coverage90, y: "method", fy: "leave_out", title: (row) => `${row.method}, left out: ${row.leave_out}\ninside the 90% interval ${percent(row.coverage90)} of ${row.observations} observations\nlog error of medians ${plain(row.male)}\nweighted interval score ${plain(row.wis)}` }),
    ],
  });
}

// Draw R-hat against the effective sample size of every parameter.
function drawConvergence(given) {
  const rows = given.names.map((name, i) => ({ name, r_hat: given.r_hat[i], ess: given.ess[i] }));
  const outside = (row) => row.r_hat > given.max_r_hat || row.ess < given.min_ess;
  const worst = rows[d3.maxIndex(rows, (row) => row.r_hat)];
  show("convergence", `R-hat against effective sample size of ${rows.length} parameters; ${rows.filter(outside).length} lie outside the limits. The largest R-hat is ${worst.r_hat.toFixed(3)}, of ${worst.name}.`, {
    x: logScale("effective sample size: the smaller of bulk and tail (draws)", short, [0.8, 1.25].map((factor, end) => factor * d3.extent([...rows.map((row) => row.ess), given.min_ess])[end])),
    y: { label: "R-hat", labelArrow: "none", grid: true, domain: [Math.min(0.999, d3.min(rows, (row) => row.r_hat)), Math.max(given.max_r_hat, worst.r_hat) + 0.001] },
    marks: [
      Plot.ruleY([given.max_r_hat], { stroke: BEST, strokeDasharray: "5 4" }),
      Plot.ruleX([given.min_ess], { stroke: BEST, strokeDasharray: "5 4" }),
      Plot.dot(rows, { x: "ess", y: "r_hat", r: 3, stroke: (row) => (outside(row) ? BEST : BLUE) }),
      tip(rows, { x: "ess", y: "r_hat", title: (row) => `${row.name}\nR-hat ${row.r_hat.toFixed(4)}\neffective sample size ${short(row.ess)}` }),
    ],
  });
}

// Draw the ranks of one parameter's draws, a line per chain.
function drawRanks(given, id) {
  const bins = given.counts[0].length;
  const points = given.counts.flatMap((counts, chain) => counts.map((count, bin) => ({ chain: `chain ${chain + 1}`, x: ((bin + 0.5) * 100) / bins, count })));
  show(id, `Rank plot of ${given.name}: counts of draws by rank for ${given.counts.length} chains.`, {
    x: { label: "rank among the draws of all chains (percent)", labelArrow: "none", domain: [0, 100] },
    y: { label: `draws, ${given.name}`, labelArrow: "none", grid: true, zero: true },
    color: { legend: true, range: ["var(--accent)", "var(--best)", "var(--third)", "var(--fourth)"] },
    marks: [
      Plot.ruleY([d3.mean(points, (point) => point.count)], { strokeDasharray: "2 3" }),
      Plot.line(points, { x: "x", y: "count", stroke: "chain", curve: "step" }),
    ],
  });
}
