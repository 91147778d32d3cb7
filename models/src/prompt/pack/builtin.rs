//! The packs that the program carries.

use super::{Pack, PackError, Task};

/// Name, `pack.toml` and `prompt.txt` of a pack, from its folder in `models`.
macro_rules! pack {
    ($name:literal) => {
        pack!($name, concat!("packs/", $name))
    };
    ($name:literal, $folder:expr) => {
        (
            $name,
            include_str!(concat!("../../../", $folder, "/pack.toml")),
            include_str!(concat!("../../../", $folder, "/prompt.txt")),
        )
    };
}

/// The built-in packs: name, `pack.toml`, `prompt.txt`.
const BUILTIN: &[(&str, &str, &str)] = &[
    pack!("shapes-judge", "shapes-judge/pack"),
    pack!("unifiedreward-flex-image"),
    pack!("unifiedreward-flex-video"),
    pack!("unifiedreward-image-pair"),
    pack!("unifiedreward-image-point"),
    pack!("unifiedreward-image-acs"),
    pack!("unifiedreward-video-pair"),
    pack!("unifiedreward-video-point"),
    pack!("unifiedreward-image-understanding-pair"),
    pack!("unifiedreward-image-understanding-point"),
    pack!("unifiedreward-video-understanding-pair"),
    pack!("unifiedreward-video-understanding-point"),
    pack!("unifiedreward-2-image-pair-score"),
    pack!("unifiedreward-2-image-point"),
    pack!("unifiedreward-2-video-pair-score"),
    pack!("unifiedreward-2-video-point"),
    pack!("unifiedreward-think-image-pair"),
    pack!("unifiedreward-think-video-pair"),
    pack!("unifiedreward-think-image-understanding-pair"),
    pack!("unifiedreward-think-video-understanding-pair"),
    pack!("unifiedreward-edit-pair"),
    pack!("unifiedreward-edit-pair-score"),
    pack!("unifiedreward-edit-point"),
    pack!("unifiedreward-edit-quality-point"),
    pack!("scores-image"),
    pack!("hpsv3"),
    pack!("videoreward"),
];

/// Names of the built-in packs.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, ..)| *name)
}

impl Pack {
    /// The built-in pack of that name.
    ///
    /// # Errors
    /// [`PackError::Unknown`] lists the names that exist.
    pub fn builtin(name: &str) -> Result<Pack, PackError> {
        let Some((_, description, prompt)) = BUILTIN.iter().find(|(known, ..)| *known == name) else {
            let known = builtin_names().collect::<Vec<_>>().join(", ");
            return Err(PackError::Unknown { name: name.to_owned(), known });
        };
        Pack::parse(description, prompt)
    }

    /// The built-in pack for a task, for requests that name none.
    ///
    /// # Errors
    /// None in practice: the built-in packs are parsed by the tests.
    pub fn for_task(task: Task) -> Result<Pack, PackError> {
        Pack::builtin(task.shape().default_pack)
    }
}
