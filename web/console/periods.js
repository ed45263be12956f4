// Periods and dates that people ask for, as dates of UTC: the API takes a date as the start or the end of that day in UTC.

const MONTHS = { "this-month": [0, 1], "last-month": [-1, 1], "this-quarter": ["quarter", 3], "this-year": ["year", 12], "last-year": ["last-year", 12] };

/** The periods that can be chosen by name. */
export const PERIODS = [["all", "All time"], ["this-month", "This month"], ["last-month", "Last month"], ["this-quarter", "This quarter"], ["this-year", "This year"], ["last-year", "Last year"], ["dates", "Dates"]];

/** Return the first and the last date of a named period, as seen from a time in milliseconds; `all` has none. */
export function datesOf(name, time) {
  if (!(name in MONTHS)) return {};
  const date = new Date(time);
  const [start, length] = MONTHS[name];
  const month = { quarter: Math.floor(date.getUTCMonth() / 3) * 3, year: 0, "last-year": -12 }[start] ?? date.getUTCMonth() + start;
  const year = date.getUTCFullYear();
  return { from: dateOf(Date.UTC(year, month, 1)), to: dateOf(Date.UTC(year, month + length, 0)) };
}

/** Return the date that is a number of months before another one, or the last of its month. */
export function monthsBefore(date, months) {
  const [year, month, day] = date.split("-").map(Number);
  const last = new Date(Date.UTC(year, month - months, 0)).getUTCDate();
  return dateOf(Date.UTC(year, month - 1 - months, Math.min(day, last)));
}

/** Return the date, in UTC, of a time in milliseconds. */
export function dateOf(time) {
  return new Date(time).toISOString().slice(0, 10);
}
