// Numbers and times as text. null stands for a number that is not known; the server writes NaN so.

const NONE = "–";
const formats = new Map();
const formatOf = (least, most) => {
  const key = `${least} ${most}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most }));
  return formats.get(key);
};

export const number = (value, digits) => (value === null || value === undefined ? NONE : formatOf(digits, digits).format(value));
export const price = (value, digits) => number(value, digits).replaceAll(",", "");
export const money = (value) => number(value, 2);
export const size = (value) => (value === null || value === undefined ? NONE : formatOf(2, 8).format(value));
export const loose = (value) => (value === null || value === undefined ? NONE : formatOf(0, Math.abs(value) < 10 ? 4 : 2).format(value));
export const percent = (fraction, digits = 2) => (fraction === null || fraction === undefined ? NONE : `${number(fraction * 100, digits)} %`);

// With its sign, so that a profit is not told by colour alone; a true minus is as wide as the plus.
export const signed = (value, digits = 2) => {
  if (value === null || value === undefined) return NONE;
  const text = number(Math.abs(value), digits);
  return /[1-9]/.test(text) ? (value > 0 ? "+" : "\u2212") + text : text;
};
export const tone = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

export const seconds = (nanoseconds) => Math.round(nanoseconds / 1e9);
export const stamp = (nanoseconds) => (nanoseconds ? new Date(nanoseconds / 1e6).toISOString().slice(0, 19).replace("T", " ") : NONE);
export const hour = (nanoseconds) => (nanoseconds ? new Date(nanoseconds / 1e6).toISOString().slice(5, 19).replace("T", " ") : NONE);
export const minute = (secondsOfEpoch) => new Date(secondsOfEpoch * 1000).toISOString().slice(0, 16).replace("T", " ");

export const lasting = (secondsLong) => {
  const whole = Math.floor(secondsLong);
  const d = Math.floor(whole / 86400), h = Math.floor(whole / 3600) % 24, m = Math.floor(whole / 60) % 60;
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min ${whole % 60} s` : `${whole} s`;
};

const SPANS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
// "15m" in seconds.
export const span = (timeframe) => {
  const found = /^(\d+)([smhdw])$/.exec(timeframe);
  return found ? Number(found[1]) * SPANS[found[2]] : 60;
};
