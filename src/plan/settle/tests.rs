use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn ms(at: u64) -> Duration {
    Duration::from_millis(at)
}

/// What was taken when: `a` a path, `a/**` a directory with all below it.
type Looks = Vec<(u64, String)>;

/// Tells `signs` at their milliseconds, taking whenever something is due, and for `tail` ms after the last one.
fn run(settle: &mut Settle, signs: &[(u64, &str, Sign)], tail: u64) -> Looks {
    let mut looks = Looks::new();
    let mut take_until = |settle: &mut Settle, until: Duration| {
        while let Some(next) = settle.next().filter(|next| *next <= until) {
            let taken = settle.take(next);
            assert!(!taken.is_empty(), "called at {next:?} for nothing");
            let at = u64::try_from(next.as_millis()).unwrap();
            looks.push((at, taken.iter().map(shown).collect::<Vec<_>>().join(" ")));
        }
    };
    for (at, name, sign) in signs {
        take_until(settle, ms(*at));
        settle.tell(path(name), *sign, ms(*at));
    }
    let end = signs.last().map_or(0, |(at, ..)| *at);
    take_until(settle, ms(end + tail));
    looks
}

fn shown(hint: &Hint) -> String {
    format!("{}{}", hint.path, if hint.recursive { "/**" } else { "" })
}

#[track_caller]
fn check(case: &str, signs: &[(u64, &str, Sign)], expected: &[(u64, &str)]) {
    let mut settle = Settle::new(Pace::default());
    let looks = run(&mut settle, signs, 100_000);
    let looks: Vec<(u64, &str)> = looks.iter().map(|(at, what)| (*at, &**what)).collect();
    assert_eq!(looks, expected, "{case}");
    assert!(settle.is_empty(), "{case}");
}

#[test]
fn what_is_finished_is_looked_at_at_once_and_what_is_written_when_it_is_quiet() {
    use Sign::{Appeared, Attributes, Closed, Vanished, Written};
    check("closed", &[(0, "a", Written), (5, "a", Closed)], &[(7, "a")]);
    check("both halves of a rename", &[(0, "a", Vanished), (1, "b", Appeared)], &[(2, "a b/**")]);
    check("a burst", &[(0, "c", Closed), (1, "a", Closed), (1, "b", Closed)], &[(2, "a b c")]);
    check("said twice", &[(0, "a", Closed), (0, "a", Attributes)], &[(2, "a")]);
    check("written and left open", &[(0, "a", Written), (900, "a", Written)], &[(1_900, "a")]);
    check("attributes of a file being written", &[(0, "a", Written), (1, "a", Attributes)], &[(1_000, "a")]);
    check("written again before it was looked at", &[(0, "a", Closed), (1, "a", Written)], &[(1_001, "a")]);
    check("removed while it was written", &[(0, "a", Written), (9, "a", Vanished)], &[(11, "a")]);
    check("a directory swallows what is in it", &[(0, "a/f", Closed), (1, "a", Appeared)], &[(2, "a/**")]);
    check("and what comes after", &[(0, "a", Appeared), (1, "a/b/f", Written)], &[(2, "a/**")]);
    check("a name that only begins alike", &[(0, "a", Appeared), (1, "a.b", Closed)], &[(2, "a/** a.b")]);
    check("one waits, another does not", &[(0, "a", Written), (1, "b", Closed)], &[(3, "b"), (1_000, "a")]);
}

#[test]
fn a_file_that_is_never_closed_is_looked_at_less_and_less_often() {
    let signs: Vec<_> = (0..400).map(|at| (at * 500, "log", Sign::Written)).collect();
    let mut settle = Settle::new(Pace::default());
    let looks: Vec<u64> = run(&mut settle, &signs, 0).into_iter().map(|(at, _)| at).collect();
    assert_eq!(looks, [60_000, 120_000, 180_000], "never quiet: once a minute");
    let signs: Vec<_> = (0..20).map(|at| (at * 3_000, "log", Sign::Written)).collect();
    let mut settle = Settle::new(Pace::default());
    let looks: Vec<u64> = run(&mut settle, &signs, 0).into_iter().map(|(at, _)| at).collect();
    assert_eq!(looks, [1_000, 5_000], "quiet for a while: 1 s, then 2 s, then 4 s are not reached");
}

#[test]
fn a_busy_file_comes_back_later_each_time() {
    let mut settle = Settle::new(Pace::default());
    let hint = Hint { path: path("a"), recursive: false };
    let mut gaps = Vec::new();
    let mut now = ms(0);
    for _ in 0..8 {
        settle.busy(hint.clone(), now);
        let next = settle.next().unwrap();
        gaps.push((next - now).as_secs());
        now = next;
        assert_eq!(settle.take(now), std::slice::from_ref(&hint));
    }
    assert_eq!(gaps, [2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_path_that_flaps_is_held_back_and_forgiven() {
    let signs: Vec<_> = (0..6_000).map(|at| (at * 10, "a", Sign::Closed)).collect();
    let mut settle = Settle::new(Pace::default());
    let looks = run(&mut settle, &signs, 0);
    assert!((20..40).contains(&looks.len()), "{looks:?}");
    assert!(looks.windows(2).all(|two| two[1].0 - two[0].0 <= 10_010), "{looks:?}");
    let looks = run(&mut settle, &[(200_000, "a", Sign::Closed)], 100);
    assert_eq!(looks.last().unwrap(), &(200_002, "a".to_owned()), "left alone, it is forgiven");
}

#[test]
fn lost_hints_mean_everything() {
    let mut settle = Settle::new(Pace::default());
    settle.tell(path("a"), Sign::Closed, ms(0));
    settle.overflow(ms(1));
    settle.tell(path("b"), Sign::Closed, ms(1));
    assert_eq!(settle.take(ms(2)), [Hint { path: RelPath::root(), recursive: true }]);
    assert!(settle.is_empty());
}

#[test]
fn too_many_places_become_their_directories() {
    let pace = Pace { places_max: 8, ..Pace::default() };
    for (case, name, expected) in [
        ("few directories", (|at| format!("d{}/x/{at}", at % 2)) as fn(u64) -> String, "d0/x/** d1/x/**"),
        ("many directories", |at| format!("top/{at}/f"), "top/**"),
        ("all over the root", |at| format!("{at}"), "./**"),
    ] {
        for sign in [Sign::Closed, Sign::Written] {
            let mut settle = Settle::new(pace);
            for at in 0..9 {
                settle.tell(path(&name(at)), sign, ms(0));
            }
            let taken: Vec<String> = settle.take(ms(2)).iter().map(shown).collect();
            assert_eq!(taken.join(" "), expected, "{case}, {sign:?}");
            assert!(settle.is_empty(), "{case}, {sign:?}");
        }
    }
}

#[test]
fn memory_is_bounded_whatever_is_told() {
    let pace = Pace { places_max: 100, ..Pace::default() };
    let mut settle = Settle::new(pace);
    let mut random = fastrand::Rng::with_seed(7);
    for at in 0..20_000 {
        let name = format!("{}/{}/{}", random.u8(..), random.u8(..), random.u8(..));
        let signs = [Sign::Closed, Sign::Written, Sign::Appeared, Sign::Vanished, Sign::Attributes];
        settle.tell(path(&name), signs[random.usize(..5)], ms(at));
        if at % 7 == 0 {
            settle.take(ms(at));
        }
        assert!(settle.ready.len() + settle.waiting.len() <= 100);
        assert!(settle.heat.len() <= 201);
        assert_eq!(settle.waiting.len(), settle.due.len());
    }
}
