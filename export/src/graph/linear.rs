//! `y = x W^T + b` on rows.
//!
//! ```text
//! float:      x, W (, b) -> Gemm(transB)            16-bit: W -> Cast -> Gemm
//! quantized:  x, Wq, scale (, b) -> MatMulNBits     int8 dot products (accuracy_level 4)
//! ```

use rewardrt_models::package::onnx::AttributeProto;
use rewardrt_models::spec::{Linear, Weight};

use super::{Builder, scale_name};
use crate::weights::Store;

impl Builder {
    /// A linear layer on `[tokens, inputs]`, giving `[tokens, outputs]`.
    pub(crate) fn linear(&mut self, x: &str, linear: &Linear, form: Store) -> String {
        let name = linear.weight.name.trim_end_matches(".weight").to_owned();
        let bias = linear.bias.as_ref().map(|b| self.weight(b, Store::F32));
        match form {
            Store::Int8 { block } => self.quantized(x, &name, linear, (form, 8, block), bias),
            Store::Int4 { block } => self.quantized(x, &name, linear, (form, 4, block), bias),
            Store::F32 | Store::F16 | Store::AsIs => self.gemm(x, &name, &linear.weight, form, bias),
        }
    }

    fn gemm(&mut self, x: &str, name: &str, weight: &Weight, form: Store, bias: Option<String>) -> String {
        let w = self.float_weight(weight, form);
        // A patch convolution is a matrix with trailing dimensions.
        let w = if weight.shape.len() > 2 {
            self.rows(&format!("{name}.flat"), &w, weight.shape[1..].iter().product())
        } else {
            w
        };
        let inputs: Vec<&str> = [x, &w].into_iter().chain(bias.as_deref()).collect();
        self.op("Gemm", &format!("{name}/Gemm"), &inputs, vec![AttributeProto::int("transB", 1)])
    }

    fn quantized(
        &mut self,
        x: &str,
        name: &str,
        linear: &Linear,
        (form, bits, block): (Store, i64, usize),
        bias: Option<String>,
    ) -> String {
        let data = self.weight(&linear.weight, form);
        let scale = scale_name(&linear.weight.name);
        let mut inputs = vec![x, data.as_str(), scale.as_str()];
        if let Some(bias) = &bias {
            inputs.extend(["", "", bias]);
        }
        let int = AttributeProto::int;
        let attributes = vec![
            int("K", linear.inputs() as i64),
            int("N", linear.outputs() as i64),
            int("bits", bits),
            int("block_size", block as i64),
            int("accuracy_level", 4),
        ];
        self.contrib("MatMulNBits", &format!("{name}/MatMulNBits"), &inputs, attributes)
    }
}
