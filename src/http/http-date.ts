const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
const IMF_FIXDATE = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const RFC_850 = /^[A-Z][a-z]{5,8}, (\d{2})-([A-Z][a-z]{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/
const ASCTIME = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/

/**
 * Reads an HTTP date in any of its three forms.
 * @returns Epoch milliseconds, or undefined for anything else: such a precondition is ignored.
 * Source: RFC 9110 §5.6.7.
 */
export function parseHttpDate(text: string): number | undefined {
  const fixed = IMF_FIXDATE.exec(text)
  if (fixed !== null) return toTime(fixed[3]!, fixed[2]!, fixed[1]!, fixed[4]!, fixed[5]!, fixed[6]!)
  const old = RFC_850.exec(text)
  if (old !== null) return toTime(fullYear(old[3]!), old[2]!, old[1]!, old[4]!, old[5]!, old[6]!)
  const asc = ASCTIME.exec(text)
  if (asc !== null) return toTime(asc[6]!, asc[1]!, asc[2]!, asc[3]!, asc[4]!, asc[5]!)
  return undefined
}

/** A two-digit year more than 50 years ahead is in the past. */
function fullYear(twoDigits: string): string {
  const thisYear = new Date().getUTCFullYear()
  const century = thisYear - (thisYear % 100)
  const year = century + Number(twoDigits)
  return String(year > thisYear + 50 ? year - 100 : year)
}

function toTime(
  year: string,
  monthName: string,
  day: string,
  hour: string,
  minute: string,
  second: string,
): number | undefined {
  const month = MONTHS.indexOf(monthName)
  if (month === -1 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined
  const time = Date.UTC(Number(year), month, Number(day), Number(hour), Number(minute), Number(second))
  return new Date(time).getUTCDate() === Number(day) || Number(second) === 60 ? time : undefined
}
