//! Whether the volume with the images is there.
//!
//! A claim that is gone is not simply made again: the registry would serve an empty volume as if nothing had happened.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;

use super::{Refusal, is_shared};
use crate::api::Registry;
use crate::api::conditions::Reason;
use crate::labels::names;
use crate::registry::observe::Observed;

/// Annotation with which somebody says that the images of the claim with that UID are not coming back.
pub const START_EMPTY: &str = "berth.dev/start-empty";

/// Says so if images were on a volume that is gone, or are on one that goes.
pub(super) fn check(registry: &Registry, name: &str, observed: &Observed) -> Result<(), Refusal> {
    if is_shared(registry) {
        return Ok(());
    }
    let refuse = |reason, problem: String| {
        Err(Refusal {
            reason,
            problems: vec![problem],
        })
    };
    let claim = registry
        .existing_claim()
        .map_or_else(|| names::claim(name), str::to_owned);
    let Some(live) = &observed.claim else {
        if registry.existing_claim().is_some() {
            let problem = format!(
                "PersistentVolumeClaim {claim} of spec.storage.filesystem.claimName does not exist: create it in this \
                 namespace"
            );
            return refuse(Reason::VolumeMissing, problem);
        }
        return match lost(registry, &claim) {
            Some(problem) => refuse(Reason::VolumeLost, problem),
            None => Ok(()),
        };
    };
    match in_danger(live, &claim) {
        Some(problem) => refuse(Reason::VolumeLost, problem),
        None => Ok(()),
    }
}

fn lost(registry: &Registry, claim: &str) -> Option<String> {
    let held = registry
        .status
        .as_ref()?
        .volume
        .as_ref()
        .filter(|held| held.claim == claim)?;
    let given_up = registry
        .annotations()
        .get(START_EMPTY)
        .is_some_and(|uid| *uid == held.uid);
    let problem = || {
        format!(
            "PersistentVolumeClaim {claim}, which held the images, is gone. Restore it under that name from a backup; to \
             start empty instead, run `kubectl annotate registry {} -n {} {START_EMPTY}={}`",
            registry.name_any(),
            registry.namespace().unwrap_or_default(),
            held.uid
        )
    };
    (!given_up).then(problem)
}

fn in_danger(live: &PersistentVolumeClaim, claim: &str) -> Option<String> {
    if live.metadata.deletion_timestamp.is_some() {
        return Some(format!(
            "PersistentVolumeClaim {claim}, which holds the images, was deleted and goes as soon as no pod uses it. Pods \
             that run go on serving: copy the images elsewhere before they stop"
        ));
    }
    let phase = live.status.as_ref().and_then(|status| status.phase.as_deref());
    (phase == Some("Lost")).then(|| {
        format!(
            "PersistentVolumeClaim {claim} has lost its PersistentVolume, and with it the images: restore the volume \
             from a backup, or delete the claim"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::RegistryStatus;
    use crate::api::status::HeldVolume;
    use crate::registry::fixtures;

    fn held() -> Registry {
        let held = HeldVolume {
            claim: "images-data".to_owned(),
            uid: "u1".to_owned(),
        };
        Registry {
            status: Some(RegistryStatus {
                volume: Some(held),
                ..RegistryStatus::default()
            }),
            ..fixtures::registry(&json!({}))
        }
    }

    fn reason(registry: &Registry, claim: Option<serde_json::Value>) -> Option<Reason> {
        let observed = Observed {
            claim: claim.map(|claim| serde_json::from_value(claim).unwrap()),
            ..fixtures::observed()
        };
        check(registry, "images", &observed).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_claim_that_held_images_and_is_gone_is_not_made_again_until_somebody_says_so() {
        let mut registry = held();
        assert_eq!(reason(&registry, None), Some(Reason::VolumeLost));
        assert_eq!(reason(&fixtures::registry(&json!({})), None), None);

        registry
            .annotations_mut()
            .insert(START_EMPTY.to_owned(), "u0".to_owned());
        assert_eq!(reason(&registry, None), Some(Reason::VolumeLost), "of another claim");
        registry
            .annotations_mut()
            .insert(START_EMPTY.to_owned(), "u1".to_owned());
        assert_eq!(reason(&registry, None), None);
    }

    #[test]
    fn a_claim_that_was_restored_is_taken() {
        assert_eq!(reason(&held(), Some(json!({"metadata": {"uid": "u2"}}))), None);
    }

    #[test]
    fn a_claim_that_goes_or_has_lost_its_volume_is_told() {
        let goes = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(reason(&held(), Some(goes)), Some(Reason::VolumeLost));
        let lost = json!({"status": {"phase": "Lost"}});
        assert_eq!(reason(&held(), Some(lost)), Some(Reason::VolumeLost));
    }

    #[test]
    fn a_claim_of_the_user_that_is_not_there_is_named() {
        let registry = fixtures::registry(&json!({"storage": {"filesystem": {"claimName": "mine"}}}));

        assert_eq!(reason(&registry, None), Some(Reason::VolumeMissing));
    }
}
