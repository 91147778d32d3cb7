//! The vision tower on ONNX Runtime.

use ndarray::{Array2, Ix3};
use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;
use rewardrt_models::package::names;

use super::{Features, Library, Placement, SessionError, SessionOptions, VisionInput, VisionSession, open};
use crate::load::Package;

/// A vision graph.
pub struct OrtVision {
    session: Session,
    placement: Placement,
    hidden: usize,
    deepstack: usize,
    rotary_width: usize,
}

impl OrtVision {
    /// Opens the tower of a verified package; `None` when the package has none.
    ///
    /// # Errors
    /// [`SessionError::Provider`] when no provider of the list takes it, [`SessionError::Runtime`] when the graph
    /// cannot be opened.
    pub fn open(
        library: &Library,
        package: &Package,
        options: &SessionOptions,
    ) -> Result<Option<OrtVision>, SessionError> {
        let Some(vision) = &package.manifest().vision else {
            return Ok(None);
        };
        let (session, placement) = open::open(library, package, ("vision", &vision.graph), options)?;
        Ok(Some(OrtVision {
            session,
            placement,
            hidden: vision.hidden as usize,
            deepstack: vision.deepstack as usize,
            rotary_width: vision.head_dim as usize / 2,
        }))
    }

    /// What the tower runs on.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    fn check(&self, input: &VisionInput<'_>) -> Result<(), SessionError> {
        let (grids, patches, width) = input.patches.dim();
        let grid = input.grid;
        let lengths = [grid.index.len(), grid.weight.len(), grid.cos.len(), grid.sin.len()];
        let expected = [4 * patches, 4 * patches, patches * self.rotary_width, patches * self.rotary_width];
        if grids * patches * width == 0 || lengths != expected {
            let shape = format!("{grids} grids of {patches} patches of {width} values");
            return Err(SessionError::Input(format!("{shape} with position rows of {lengths:?} values")));
        }
        Ok(())
    }
}

impl VisionSession for OrtVision {
    fn run(&mut self, input: &VisionInput<'_>) -> Result<Features, SessionError> {
        self.check(input)?;
        let (_, patches, _) = input.patches.dim();
        let (taps, angles) = ([patches, 4], [patches, self.rotary_width]);
        let view = |e: ort::Error| SessionError::runtime("view the patches", &e);
        let contiguous = input.patches.as_standard_layout();
        let inputs = ort::inputs![
            names::PATCHES => TensorRef::from_array_view(&contiguous).map_err(view)?,
            names::POSITION_INDEX => TensorRef::from_array_view((taps, &input.grid.index[..])).map_err(view)?,
            names::POSITION_WEIGHT => TensorRef::from_array_view((taps, &input.grid.weight[..])).map_err(view)?,
            names::ROTARY_COS => TensorRef::from_array_view((angles, &input.grid.cos[..])).map_err(view)?,
            names::ROTARY_SIN => TensorRef::from_array_view((angles, &input.grid.sin[..])).map_err(view)?,
        ];
        let outputs =
            self.session.run(inputs).map_err(|e| SessionError::runtime("run the vision tower", &e))?;
        let table = |name: &str| features(&outputs, name, self.hidden);
        let deepstack = (0..self.deepstack).map(|k| table(&names::deepstack(k))).collect::<Result<_, _>>()?;
        Ok(Features { rows: table(names::FEATURES)?, deepstack })
    }
}

/// One output `[b, m, hidden]` as `[b * m, hidden]`.
fn features(outputs: &SessionOutputs<'_>, name: &str, hidden: usize) -> Result<Array2<f32>, SessionError> {
    let wrong = |reason: String| SessionError::Interface { component: "vision", reason };
    let value = outputs.get(name).ok_or_else(|| wrong(format!("{name} is missing among its outputs")))?;
    let array = value.try_extract_array::<f32>().map_err(|e| wrong(format!("{name}: {}", e.message())))?;
    let array = array.into_dimensionality::<Ix3>().map_err(|e| wrong(format!("{name}: {e}")))?;
    let (grids, rows, width) = array.dim();
    if width != hidden {
        return Err(wrong(format!("{name} has rows of {width} values, not {hidden}")));
    }
    let flat = array.to_owned().into_shape_with_order((grids * rows, width));
    flat.map_err(|e| wrong(format!("{name}: {e}")))
}
