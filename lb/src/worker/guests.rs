//! Who is inside: connections of each client address on one worker, where there is a limit to them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::rc::Rc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests(Rc<RefCell<HashMap<IpAddr, usize>>>);

/// One that is inside until dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    /// Lets one in, unless `most` of this address are inside. An IPv4 client is the same one through either family.
    pub(crate) fn enter(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let address = address.to_canonical();
        let mut inside = self.0.borrow_mut();
        let count = inside.entry(address).or_default();
        if *count >= most {
            // One that was never inside leaves no trace.
            if *count == 0 {
                inside.remove(&address);
            }
            return None;
        }
        *count += 1;
        Some(Guest {
            guests: self.clone(),
            address,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.guests.0.borrow_mut().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_enter_as_may_and_those_that_left_count_no_more() {
        let guests = Guests::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let first = guests.enter(one, 2).unwrap();
        let _second = guests.enter(mapped, 2).unwrap();
        assert!(guests.enter(one, 2).is_none());
        let _other = guests.enter(other, 2).unwrap();
        drop(first);
        let third = guests.enter(one, 2);
        assert!(third.is_some());
        drop(third);
        assert!(guests.enter("::1".parse().unwrap(), 0).is_none());
        assert_eq!(guests.0.borrow().len(), 2);
    }
}
