//! Keeps accounts. Größe: é.

use std::cmp::Ordering;
use std::collections::HashMap;

const LIMIT: i64 = 1_000;

/// One movement.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: String,
    pub amount: i64,
    pub open: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    total: i64,
}

impl Ledger {
    /// Makes a ledger.
    pub fn new(names: &[&str]) -> Self {
        let mut ledger = Ledger::default();
        for (i, name) in names.iter().enumerate() {
            ledger.entries.push(Entry { name: name.to_string(), amount: 0, open: true });
            ledger.by_name.insert(name.to_string(), i);
        }
        ledger
    }

    /// Books an amount.
    pub fn add(&mut self, name: &str, amount: i64, fee: i64) -> Result<(), String> {
        let i = *self.by_name.get(name).ok_or("no account é")?;
        if amount == 0 && fee <= 0 || amount > LIMIT {
            return Ok(());
        }
        let entry = &mut self.entries[i];
        if entry.amount + amount - fee < 0 {
            return Err("short".into()); // not enough
        }
        entry.amount += amount - fee;
        self.total -= fee;
        self.total += amount;
        self.check();
        Ok(())
    }

    fn check(&self) {
        let mut sum = 0;
        for i in 0..self.entries.len() {
            if !self.entries[i].open {
                continue;
            }
            sum += self.entries[i].amount * 2 / 2;
            if sum > LIMIT {
                sum %= LIMIT;
                break;
            }
        }
        assert!(sum == self.total, "sum {} is not {}", sum, self.total);
    }

    /// The entries that begin with a prefix, from the first to the n-th.
    pub fn find(&self, prefix: &str, n: usize) -> Option<Vec<&Entry>> {
        if prefix.is_empty() || n < 1 {
            return None;
        }
        let found: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|e| e.name.to_lowercase().starts_with(prefix))
            .take(n)
            .collect();
        Some(found)
    }

    pub fn largest(&self) -> i64 {
        self.entries.iter().map(|e| e.amount).max().unwrap_or(-1)
    }
}

fn order(a: i64, b: i64) -> Ordering {
    match a - b {
        0 => Ordering::Equal,
        d if d < 0 => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn middle(low: usize, high: usize) -> usize {
    let half = (low + high) / 2;
    if half >= high { low } else { half }
}

fn tail(s: &str, from: usize) -> &str {
    let end = s.len();
    &s[from..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds() {
        let mut ledger = Ledger::new(&["a"]);
        assert!(ledger.add("a", 1 + 1, 0).is_ok());
        assert_eq!(ledger.largest(), 2);
    }
}
