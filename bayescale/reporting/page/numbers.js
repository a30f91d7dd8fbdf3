// Read the packed arrays of the page, and compute quantiles, normal probabilities and run-length distributions.

const TYPES = { int8: Int8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };

// Return the bytes that Python compressed and wrote as text.
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// Return one array of the page, a view into its bytes.
function arrayAt(buffer, place) {
  return new TYPES[place.type](buffer, place.at, place.length);
}

// Return columns first ... first + count - 1 of a packed matrix of draws, the draws of a column together.
function unpackColumns(buffer, packed, draws, first, count) {
  const mean = arrayAt(buffer, packed.mean);
  const components = arrayAt(buffer, packed.components);
  const scores = arrayAt(buffer, packed.scores);
  const kept = scores.length / draws;
  const values = new Float64Array(count * draws);
  for (let column = 0; column < count; column++) {
    const row = values.subarray(column * draws, (column + 1) * draws);
    row.fill(mean[first + column]);
    for (let j = 0; j < kept; j++) {
      const component = components[j * mean.length + first + column];
      if (component === 0) continue;
      const weight = component * packed.step * packed.score_step;
      for (let draw = 0; draw < draws; draw++) row[draw] += weight * scores[j * draws + draw];
    }
  }
  return values;
}

function sorted(values) {
  return Float64Array.from(values).sort();
}

function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

// Return a quantile of increasing values, linear between neighbours.
function quantile(increasing, level) {
  const at = (increasing.length - 1) * level;
  const below = Math.floor(at);
  const above = Math.min(below + 1, increasing.length - 1);
  return increasing[below] + (at - below) * (increasing[above] - increasing[below]);
}

// Return the mean and the quantiles that every answer shows.
function summary(values) {
  const increasing = sorted(values);
  return {
    mean: mean(values),
    q05: quantile(increasing, 0.05),
    q50: quantile(increasing, 0.5),
    q95: quantile(increasing, 0.95),
  };
}

// Return the risk of a cost over draws; a low cost is good, so the risk reads the upper tail.
function riskOf(costs, risk) {
  if (risk.kind === "mean") return mean(costs);
  const increasing = sorted(costs);
  const count = increasing.length;
  if (risk.kind === "prob") {
    return increasing[Math.max(0, Math.ceil(count * risk.level - 1))];
  }
  const tail = (1 - risk.level) * count; // number of draws in the tail, not whole
  let sum = 0;
  for (let i = 0; i < Math.ceil(tail); i++) sum += increasing[count - 1 - i] * Math.min(1, tail - i);
  return sum / tail;
}

// The normal distribution function is tabulated from its series and interpolated by cubics: errors below 1e-9.
const NORMAL_END = 9;
const NORMAL_PER_UNIT = 64;
const NORMAL_TABLE = Float64Array.from({ length: NORMAL_END * NORMAL_PER_UNIT + 2 }, (_, i) => {
  const x = i / NORMAL_PER_UNIT;
  let term = x;
  let sum = x;
  for (let n = 3; term > 1e-17 * sum; n += 2) {
    term *= (x * x) / n;
    sum += term;
  }
  return 0.5 + sum * Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
});

function normalProbability(x) {
  const size = Math.abs(x);
  if (size >= NORMAL_END) return x > 0 ? 1 : 0;
  const at = Math.floor(size * NORMAL_PER_UNIT);
  const share = size * NORMAL_PER_UNIT - at;
  const slope = (i) => Math.exp(-((i / NORMAL_PER_UNIT) ** 2) / 2) / Math.sqrt(2 * Math.PI) / NORMAL_PER_UNIT;
  const [low, high] = [NORMAL_TABLE[at], NORMAL_TABLE[at + 1]];
  const [a, b] = [slope(at) - (high - low), high - low - slope(at + 1)];
  const upper = low + share * (high - low) + share * (1 - share) * (a * (1 - share) + b * share);
  return x > 0 ? upper : 1 - upper;
}

// Return z such that z + skewness z^2 = steps, continued beyond the turn of the parabola as in Python.
function normalScore(steps, skewness, bend) {
  const square = 1 + 4 * skewness * steps;
  const root =
    square >= bend ? Math.sqrt(square) : Math.sqrt(bend) * Math.exp((Math.max(square, -1e3) - bend) / (2 * bend));
  return (2 * steps) / (1 + root);
}

// Return the probability, over draws, that a run reaches the threshold within these log env steps.
function probabilityWithin(logSteps, lengths, bend) {
  let sum = 0;
  for (let draw = 0; draw < lengths.location.length; draw++) {
    let within = logSteps === Infinity ? 1 : 0;
    if (Number.isFinite(logSteps)) {
      const steps = (logSteps - lengths.location[draw]) / lengths.scale[draw];
      within = normalProbability(normalScore(steps, lengths.skewness[draw], bend));
    }
    sum += lengths.reach[draw] * within;
  }
  return sum / lengths.location.length;
}

// Return the env steps within which a new run reaches the threshold with this probability; Infinity if none do.
function runQuantile(level, lengths, bend) {
  if (mean(lengths.reach) <= level) return Infinity;
  let [low, high] = [mean(lengths.location), mean(lengths.location)];
  let width = 0.5;
  while (probabilityWithin(low, lengths, bend) >= level) low -= width *= 2;
  width = 0.5;
  while (probabilityWithin(high, lengths, bend) < level) high += width *= 2;
  let [below, above] = [probabilityWithin(low, lengths, bend) - level, probabilityWithin(high, lengths, bend) - level];
  // False position; the value at an end that stays is halved, so that both ends move.
  for (let i = 0, kept = 0; i < 100 && high - low > 1e-10; i++) {
    const at = low + ((high - low) * -below) / (above - below || 1);
    const here = probabilityWithin(at, lengths, bend) - level;
    if (Math.abs(here) < 1e-13) return Math.exp(at);
    if (here < 0) {
      [low, below] = [at, here];
      if (kept === -1) above /= 2;
      kept = -1;
    } else {
      [high, above] = [at, here];
      if (kept === 1) below /= 2;
      kept = 1;
    }
  }
  return Math.exp((low + high) / 2);
}
