//! How many requests are let in at a time. Beyond that clients are told to come back, and nothing is kept of them.

use crate::http::Overload;
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts requests under way, and those of them that push.
#[derive(Debug)]
pub(super) struct Gate {
    requests: Places,
    uploads: Places,
}

#[derive(Debug)]
struct Places {
    taken: AtomicU32,
    limit: u32,
}

impl Places {
    fn new(limit: u32) -> Self {
        Self {
            taken: AtomicU32::new(0),
            limit,
        }
    }

    fn take(&self) -> bool {
        let room = self.taken.fetch_add(1, Ordering::Relaxed) < self.limit;
        if !room {
            self.leave();
        }
        room
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(super) fn new(max_requests: u32, max_uploads: u32) -> Arc<Self> {
        Arc::new(Self {
            requests: Places::new(max_requests),
            uploads: Places::new(max_uploads),
        })
    }

    /// A place for a request, or what there is too much of.
    pub(super) fn admit(self: &Arc<Self>, method: &Method) -> Result<Place, Overload> {
        let pushes = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        if !self.requests.take() {
            return Err(Overload::Requests);
        }
        if pushes && !self.uploads.take() {
            self.requests.leave();
            return Err(Overload::Uploads);
        }
        Ok(Place {
            gate: Arc::clone(self),
            pushes,
        })
    }
}

/// A request's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    pushes: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.pushes {
            self.gate.uploads.leave();
        }
        self.gate.requests.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_its_request_ends() {
        let gate = Gate::new(1, 1);
        let place = gate.admit(&Method::GET).unwrap();
        assert_eq!(gate.admit(&Method::GET).unwrap_err(), Overload::Requests);

        drop(place);

        gate.admit(&Method::GET).unwrap();
    }

    #[test]
    fn pulls_go_on_when_there_are_too_many_pushes() {
        let gate = Gate::new(3, 1);
        let _push = gate.admit(&Method::PATCH).unwrap();

        for method in [Method::POST, Method::PUT, Method::PATCH] {
            assert_eq!(gate.admit(&method).unwrap_err(), Overload::Uploads);
        }

        let _pull = gate.admit(&Method::GET).unwrap();
        let _deletion = gate.admit(&Method::DELETE).unwrap();
        assert_eq!(gate.admit(&Method::GET).unwrap_err(), Overload::Requests);
    }
}
