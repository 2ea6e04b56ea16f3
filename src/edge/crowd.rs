//! Pure: when a crowd of clients has gone, and what their buffers took is worth giving back.

/// Fewer clients leave less behind than it costs to look for it.
const CROWD: usize = 256;
/// Gone is a crowd of which one in so many is left.
const PART: usize = 8;

/// How many clients there have been since the last crowd went.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    most: usize,
}

impl Crowd {
    /// To be told of every change; true once for each crowd that has gone.
    pub(crate) fn has_gone(&mut self, clients: usize) -> bool {
        self.most = self.most.max(clients);
        let gone = self.most >= CROWD && clients <= self.most / PART;
        if gone {
            self.most = clients;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_goes_once() {
        let mut crowd = Crowd::default();
        let mut told = |clients: &[usize]| clients.iter().filter(|count| crowd.has_gone(**count)).count();
        assert_eq!(told(&[1, 100, 255, 0, 255, 3]), 0, "no crowd");
        assert_eq!(told(&[256, 33]), 0, "some are left");
        assert_eq!(told(&[32, 31, 0, 1, 200, 0]), 1);
        assert_eq!(told(&[4000, 500, 499, 0]), 2, "what was left was a crowd, too");
    }
}
