//! Low-rank adapters: what they add is put into the weights while these are read.
//!
//! ```text
//! W + alpha / r * B A,    W [out, in], A [r, in], B [out, r]; 32-bit floats whatever the files hold
//! ```
//!
//! An adapter comes in two forms, and both may be named as PEFT names them, behind `base_model.model.`:
//!
//! | form | weights | pairs | settings |
//! |---|---|---|---|
//! | beside the weights | `model*.safetensors` | `adapter_model.safetensors` | `adapter_config.json` |
//! | among the weights | `X.base_layer.weight` | `X.lora_A.default.weight`, `X.lora_B.default.weight` | the same, or `peft_lora_config` of `model_config.json` |
//!
//! Only plain LoRA is read: every setting that would add something else is refused by its name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::convert::to_f32;
use super::error::CheckpointError;
use super::header::Dtype;
use super::shards::{Tensor, Weights};

/// Settings that change nothing of a trained adapter's sum: where it came from, how it was trained, what it is for.
const INERT: [&str; 12] = [
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "lora_dropout",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
];
/// What PEFT puts before the names of the model below it.
const PREFIX: &str = "base_model.model.";

/// What an adapter's settings say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    rank: usize,
    scale: f32,
}

/// A weight with an adapter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LowRank {
    /// `[out, in]` as stored.
    base: Tensor,
    /// `[r, in]`.
    a: Tensor,
    /// `[out, r]`.
    b: Tensor,
    scale: f32,
}

/// What a tensor's name makes of it.
enum Role {
    /// The weight of this name.
    Weight(String),
    /// The weight of this name, in the place of the base's.
    Replacement(String),
    /// A weight that was replaced.
    Replaced,
    /// `A` of the module.
    A(String),
    /// `B` of the module.
    B(String),
    /// Something that plain LoRA does not have.
    Unknown,
}

fn role(name: &str) -> Role {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let pair = |side: &str| {
        let ends = [format!(".lora_{side}.weight"), format!(".lora_{side}.default.weight")];
        ends.iter().find_map(|end| name.strip_suffix(end.as_str())).map(str::to_owned)
    };
    if let Some(module) = pair("A") {
        return Role::A(module);
    }
    if let Some(module) = pair("B") {
        return Role::B(module);
    }
    if name.contains("lora_") {
        return Role::Unknown;
    }
    if name.contains(".original_module.") {
        return Role::Replaced;
    }
    if name.contains(".modules_to_save.") {
        return Role::Replacement(name.replace(".modules_to_save.default.", "."));
    }
    Role::Weight(name.replace(".base_layer.", "."))
}

impl Settings {
    /// Reads `adapter_config.json`.
    pub(super) fn of_adapter(config: &Value) -> Result<Settings, String> {
        let map = config.as_object().ok_or("adapter_config.json is no JSON object")?;
        // Pairs of another rank or scale for some modules, other sums, other layouts: not covered.
        let plain: [(&str, &[Value]); 6] = [
            ("peft_type", &[json!("LORA")]),
            ("bias", &[json!("none")]),
            ("init_lora_weights", &[json!(true), json!(false), json!("gaussian")]),
            ("loftq_config", &[json!({})]),
            ("rank_pattern", &[json!({})]),
            ("alpha_pattern", &[json!({})]),
        ];
        for (key, value) in map {
            let known = match plain.iter().find(|(name, _)| name == key) {
                Some((_, allowed)) => allowed.contains(value),
                None => INERT.contains(&key.as_str()) || ["r", "lora_alpha"].contains(&key.as_str()),
            };
            if !known && !value.is_null() && *value != json!(false) {
                return Err(refusal("adapter_config.json", key, value));
            }
        }
        if !map.contains_key("peft_type") {
            return Err("adapter_config.json has no peft_type; only LORA is read".to_owned());
        }
        Settings::new(map, ["r", "lora_alpha"], "adapter_config.json")
    }

    /// Reads `peft_lora_config` of `model_config.json`, if there is one.
    pub(super) fn of_training(config: &Value) -> Result<Option<Settings>, String> {
        const FILE: &str = "model_config.json: peft_lora_config";
        let Some(map) = config.get("peft_lora_config").and_then(Value::as_object) else { return Ok(None) };
        match map.get("use_rslora") {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(value) => return Err(refusal(FILE, "use_rslora", value)),
        }
        Settings::new(map, ["lora_r", "lora_alpha"], FILE).map(Some)
    }

    fn new(map: &Map<String, Value>, [r, alpha]: [&str; 2], file: &str) -> Result<Settings, String> {
        let rank = map.get(r).and_then(Value::as_u64).filter(|r| (1..=1 << 16).contains(r));
        let rank = rank.ok_or_else(|| format!("{file}: {r} is no rank"))? as usize;
        let number = map.get(alpha).and_then(Value::as_f64).filter(|alpha| alpha.is_finite());
        let number = number.ok_or_else(|| format!("{file}: {alpha} is no number"))?;
        Ok(Settings { rank, scale: (number / rank as f64) as f32 })
    }
}

fn refusal(file: &str, key: &str, value: &Value) -> String {
    format!(
        "{file}: {key} is {value}, which plain LoRA does not have; merge the adapter into the weights before export"
    )
}

/// Gives the tensors the names that they have without an adapter, and finds its pairs. `tensors` are those of the
/// weights, `adapter` those of the adapter's file.
pub(super) fn merge(
    tensors: &mut BTreeMap<String, Tensor>,
    adapter: BTreeMap<String, Tensor>,
    settings: Option<Settings>,
) -> Result<BTreeMap<String, LowRank>, String> {
    let (mut pairs, mut replacements) = (BTreeMap::<String, [Option<Tensor>; 2]>::new(), Vec::new());
    let own = std::mem::take(tensors);
    for (beside, (name, tensor)) in
        own.into_iter().map(|t| (false, t)).chain(adapter.into_iter().map(|t| (true, t)))
    {
        match role(&name) {
            Role::A(module) => pairs.entry(module).or_default()[0] = Some(tensor),
            Role::B(module) => pairs.entry(module).or_default()[1] = Some(tensor),
            Role::Replaced => {}
            Role::Replacement(name) => replacements.push((name, tensor)),
            // An adapter's file holds whole weights of the modules that were trained whole.
            Role::Weight(name) if beside => replacements.push((name, tensor)),
            Role::Weight(weight) => {
                if tensors.insert(weight.clone(), tensor).is_some() {
                    return Err(format!("{weight} stands twice, once as {name}"));
                }
            }
            Role::Unknown => {
                return Err(format!(
                    "{name} is of another kind of adapter than plain LoRA; merge it before export"
                ));
            }
        }
    }
    tensors.extend(replacements);
    let mut merged = BTreeMap::new();
    for (module, pair) in pairs {
        let settings =
            settings.ok_or("LoRA tensors stand among the weights, but no adapter_config.json says how")?;
        let name = format!("{module}.weight");
        let low =
            low_rank(tensors.get(&name), pair, settings).map_err(|reason| format!("{module}: {reason}"))?;
        if let Some(tensor) = tensors.get_mut(&name) {
            tensor.dtype = Dtype::F32;
        }
        merged.insert(name, low);
    }
    Ok(merged)
}

fn low_rank(base: Option<&Tensor>, pair: [Option<Tensor>; 2], settings: Settings) -> Result<LowRank, String> {
    let [Some(a), Some(b)] = pair else {
        return Err("only one of lora_A and lora_B is there; save the adapter again".to_owned());
    };
    let base = base
        .ok_or("the adapter has a pair for it, but the weights have no such module; is it the right base?")?;
    let [out, inputs] = base.shape[..] else {
        return Err(format!(
            "the adapter has a pair for a weight of shape {:?}, which is no matrix",
            base.shape
        ));
    };
    let r = settings.rank;
    if a.shape != [r, inputs] || b.shape != [out, r] {
        let shapes = format!("lora_A {:?} and lora_B {:?}", a.shape, b.shape);
        return Err(format!("{shapes} do not fit the weight {:?} with rank {r}", base.shape));
    }
    Ok(LowRank { base: base.clone(), a, b, scale: settings.scale })
}

impl LowRank {
    /// Rows of the sum as little-endian 32-bit floats, `[rows, in]`.
    pub(super) fn rows(
        &self,
        weights: &Weights,
        rows: std::ops::Range<usize>,
    ) -> Result<Vec<u8>, CheckpointError> {
        let read = |tensor: &Tensor, rows: std::ops::Range<usize>| {
            let mut bytes = vec![0; rows.len() * tensor.row_bytes()];
            weights.read(tensor, rows.start as u64 * tensor.row_bytes() as u64, &mut bytes)?;
            let mut out = vec![0.0_f32; rows.len() * tensor.columns()];
            to_f32(tensor.dtype, &bytes, &mut out);
            Ok::<_, CheckpointError>(out)
        };
        let (inputs, rank) = (self.base.columns(), self.a.rows());
        let (mut sum, a, b) =
            (read(&self.base, rows.clone())?, read(&self.a, 0..rank)?, read(&self.b, rows)?);
        for (sum, b) in sum.chunks_exact_mut(inputs).zip(b.chunks_exact(rank)) {
            let mut added = vec![0.0_f32; inputs];
            for (a, b) in a.chunks_exact(inputs).zip(b) {
                added.iter_mut().zip(a).for_each(|(sum, a)| *sum += b * a);
            }
            sum.iter_mut().zip(added).for_each(|(sum, added)| *sum += self.scale * added);
        }
        Ok(sum.into_iter().flat_map(f32::to_le_bytes).collect())
    }
}

#[cfg(test)]
mod tests;
