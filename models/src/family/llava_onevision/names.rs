//! Names of the tensors. Four namings are published, and none of them is told by the configuration.

use std::collections::BTreeSet;

/// Where the parts of the model stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// Prefix of the decoder.
    pub(super) text: &'static str,
    /// The head's weight.
    pub(super) head: &'static str,
    /// Prefix of the vision tower.
    pub(super) tower: String,
    /// Prefix of the projector.
    pub(super) projector_path: &'static str,
    /// Prefixes of the projector's layers.
    pub(super) projector: [String; 2],
    /// The feature that closes a line of a picture.
    pub(super) newline: &'static str,
}

impl Names {
    /// Of the transformers layout: parts side by side, as versions up to 4.51 and from 5 on write them, or all in
    /// `model`, as those between do. The tower's are led by `vision_model` in all versions up to 4.
    pub(super) fn transformers(tensors: &BTreeSet<String>) -> Names {
        if tensors.contains("model.image_newline") {
            return Names::of(
                ("model.language_model", "lm_head.weight", "model.image_newline"),
                tower("model.vision_tower", tensors),
                ("model.multi_modal_projector", ["linear_1", "linear_2"]),
            );
        }
        Names::of(
            ("language_model.model", "language_model.lm_head.weight", "image_newline"),
            tower("vision_tower", tensors),
            ("multi_modal_projector", ["linear_1", "linear_2"]),
        )
    }

    /// Of the original layout.
    pub(super) fn original() -> Names {
        Names::of(
            ("model", "lm_head.weight", "model.image_newline"),
            "model.vision_tower.vision_tower.vision_model".to_owned(),
            ("model.mm_projector", ["0", "2"]),
        )
    }

    fn of(
        (text, head, newline): (&'static str, &'static str, &'static str),
        tower: String,
        (projector_path, layers): (&'static str, [&str; 2]),
    ) -> Names {
        let projector = layers.map(|layer| format!("{projector_path}.{layer}"));
        Names { text, head, tower, projector_path, projector, newline }
    }
}

fn tower(prefix: &str, tensors: &BTreeSet<String>) -> String {
    let led = format!("{prefix}.vision_model");
    if tensors.iter().any(|name| name.starts_with(&led)) { led } else { prefix.to_owned() }
}
