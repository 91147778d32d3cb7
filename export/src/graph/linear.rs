//! `y = x W^T + b` on rows.
//!
//! ```text
//! float:      x, W (, b) -> Gemm(transB)            stored otherwise than computed: W -> Cast -> Gemm
//! quantized:  x, Wq, scale (, b) -> MatMulNBits     int8 dot products (accuracy_level 4)
//!
//! columns:    x -> Abs -+-> ReduceMax -> + least -+-> row
//!                       +-> ReduceSum * 0 --------+
//!             x / row -> QuantizeLinear -> codes                 once for all products with x
//!             codes, Wq, scale -> MatMulIntegerToFloat -> * row (-> + b)
//! ```
//! `DynamicQuantizeMatMul` would do the rounding itself, with one scale for all rows of a run: a token's products would
//! depend on its neighbours. With a row of its own and a fixed step of 1/127 they are the same integers in any company.
//!
//! The largest magnitude of a row with a NaN need not be NaN, and codes are never: so the sum, which is, times zero is
//! added, and a row that holds anything but numbers gives nothing but NaN. `least` keeps a row of zeroes from dividing by
//! zero.

use rewardrt_models::package::onnx::{AttributeProto, DataType};
use rewardrt_models::spec::{Linear, Weight};

use super::{Builder, scale_name};
use crate::weights::Store;

/// A value rounded to 8 bits, row by row.
#[derive(Debug, Clone)]
pub(super) struct Rounded {
    /// Unsigned codes around 128, `[tokens, width]`.
    codes: String,
    /// The magnitude that 127 steps stand for, `[tokens, 1]`.
    row: String,
}

impl Builder {
    /// A linear layer on `[tokens, inputs]`, giving `[tokens, outputs]`.
    pub(crate) fn linear(&mut self, x: &str, linear: &Linear, form: Store) -> String {
        let name = linear.weight.name.trim_end_matches(".weight").to_owned();
        let bias = linear.bias.as_ref().map(|b| self.float_weight(b, Store::F32));
        match form {
            Store::Int8 { block } => self.quantized(x, &name, linear, (form, 8, block), bias),
            Store::Int4 { block } => self.quantized(x, &name, linear, (form, 4, block), bias),
            Store::Columns => self.columns(x, &name, linear, bias),
            Store::F32 | Store::F16 | Store::Bf16 | Store::AsIs => {
                self.gemm(x, &name, &linear.weight, form, bias)
            }
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
        let scale = self.narrowed(&scale_name(&linear.weight.name));
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

    fn columns(&mut self, x: &str, name: &str, linear: &Linear, bias: Option<String>) -> String {
        let Rounded { codes, row } = self.rounded(x);
        let data = self.weight(&linear.weight, Store::Columns);
        let scale = scale_name(&linear.weight.name);
        let step = self.step();
        let zero = self.constant("rounded.zero", &[], DataType::Uint8, vec![128]);
        let inputs = [&codes, &data, &step, &scale, &zero].map(String::as_str);
        let product =
            self.contrib("MatMulIntegerToFloat", &format!("{name}/MatMulIntegerToFloat"), &inputs, vec![]);
        let scaled = self.op("Mul", &format!("{name}/Scaled"), &[&product, &row], vec![]);
        match bias {
            Some(bias) => self.op("Add", &format!("{name}/Biased"), &[&scaled, &bias], vec![]),
            None => scaled,
        }
    }

    /// The codes of `x` and what they stand for, made once however many products take them.
    fn rounded(&mut self, x: &str) -> Rounded {
        if let Some(rounded) = self.rounded.get(x) {
            return rounded.clone();
        }
        let last = self.ints("rounded.axis", &[1], &[-1]);
        let least = self.floats("rounded.least", &[], &[1e-30]);
        let nothing = self.floats("rounded.nothing", &[], &[0.0]);
        let size = self.op("Abs", &format!("{x}/Abs"), &[x], vec![]);
        let most = self.op("ReduceMax", &format!("{x}/Most"), &[&size, &last], vec![]);
        let most = self.op("Add", &format!("{x}/Positive"), &[&most, &least], vec![]);
        let sum = self.op("ReduceSum", &format!("{x}/Sum"), &[&size, &last], vec![]);
        let guard = self.op("Mul", &format!("{x}/Guard"), &[&sum, &nothing], vec![]);
        let row = self.op("Add", &format!("{x}/Row"), &[&most, &guard], vec![]);
        let unit = self.op("Div", &format!("{x}/Unit"), &[x, &row], vec![]);
        let step = self.step();
        let zero = self.constant("rounded.zero", &[], DataType::Uint8, vec![128]);
        let codes = self.op("QuantizeLinear", &format!("{x}/Codes"), &[&unit, &step, &zero], vec![]);
        let rounded = Rounded { codes, row };
        self.rounded.insert(x.to_owned(), rounded.clone());
        rounded
    }

    /// What one step of a code stands for where a row's largest magnitude is one.
    fn step(&mut self) -> String {
        self.floats("rounded.step", &[], &[1.0 / 127.0])
    }
}
