//! `strftime_now` for templates that print the date. The clock is the caller's, so that a prompt can be
//! made again; the time zone is UTC.

/// Formats `unix` seconds by the directives that chat templates use, as in C in the English locale.
///
/// # Errors
/// The directive that is not known.
pub(crate) fn strftime(unix: u64, format: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        match c {
            '%' => out.push_str(&directive(&Civil::new(unix), &mut rest)?),
            c => out.push(c),
        }
    }
    Ok(out)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

struct Civil {
    year: u64,
    /// From 1.
    month: usize,
    /// From 1.
    day: u64,
    /// From 0 = Thursday, the day of 1 January 1970.
    weekday: usize,
    second: u64,
}

impl Civil {
    /// The Gregorian date by Howard Hinnant's days-to-civil method: years begin in March, so that the leap
    /// day comes last.
    fn new(unix: u64) -> Self {
        let days = unix / 86_400;
        let shifted = days + 719_468;
        let era_day = shifted % 146_097;
        let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
        let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
        let march_month = (5 * year_day + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Civil {
            year: shifted / 146_097 * 400 + era_year + u64::from(month <= 2),
            month: month as usize,
            day: year_day - (153 * march_month + 2) / 5 + 1,
            weekday: (days % 7) as usize,
            second: unix % 86_400,
        }
    }
}

fn directive(t: &Civil, rest: &mut std::str::Chars<'_>) -> Result<String, String> {
    let (hour, minute) = (t.second / 3_600, t.second / 60 % 60);
    let text = match rest.next() {
        Some('Y') => t.year.to_string(),
        Some('y') => format!("{:02}", t.year % 100),
        Some('m') => format!("{:02}", t.month),
        Some('d') => format!("{:02}", t.day),
        Some('e') => format!("{:2}", t.day),
        Some('B') => MONTHS[t.month - 1].to_owned(),
        Some('b') => MONTHS[t.month - 1][..3].to_owned(),
        Some('A') => DAYS[t.weekday].to_owned(),
        Some('a') => DAYS[t.weekday][..3].to_owned(),
        Some('H') => format!("{hour:02}"),
        Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
        Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        Some('M') => format!("{minute:02}"),
        Some('S') => format!("{:02}", t.second % 60),
        Some('F') => format!("{}-{:02}-{:02}", t.year, t.month, t.day),
        Some('T') => format!("{hour:02}:{minute:02}:{:02}", t.second % 60),
        Some('%') => "%".to_owned(),
        other => return Err(format!("strftime_now does not know %{}", other.unwrap_or(' '))),
    };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    fn check(unix: u64, format: &str, expected: &str) {
        assert_eq!(strftime(unix, format).unwrap_or_else(|e| e), expected);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        check(0, "%A %d %B %Y %T", "Thursday 01 January 1970 00:00:00");
        check(951_782_400, "%a %F", "Tue 2000-02-29");
        check(4_107_542_399, "%F %T %a", "2100-02-28 23:59:59 Sun");
        check(4_107_542_400, "%F %I %p %y", "2100-03-01 12 AM 00");
        check(1_795_523_696, "%e %b %H:%M:%S %I %p %m 100%%", "24 Nov 12:34:56 12 PM 11 100%");
    }

    #[test]
    fn an_unknown_directive_is_named() {
        check(0, "%Q", "strftime_now does not know %Q");
        check(0, "%", "strftime_now does not know % ");
    }
}
