//! The vision tower on ONNX Runtime.

use ndarray::{Array2, Ix3};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{PrimitiveTensorElementType, TensorRef};
use rewardrt_models::package::{Dim, VisionComponent, names};
use rewardrt_models::spec::position::GridRows;

use super::open::{self, Component, Opened};
use super::{Features, Library, Placement, SessionError, SessionOptions, VisionInput, VisionSession};
use crate::load::Package;

/// A vision graph.
pub struct OrtVision {
    session: Session,
    placement: Placement,
    hidden: usize,
    deepstack: usize,
    rotary_width: usize,
    /// Whether the graph takes table rows, angles and windows.
    takes: [bool; 3],
    /// Patches of a grid, where the tower knows one grid only.
    patches: Option<u64>,
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
        let Opened { session, placement, .. } = open::open(library, package, Component::Vision, options)?;
        Ok(Some(OrtVision {
            session,
            placement,
            hidden: vision.hidden as usize,
            deepstack: vision.deepstack as usize,
            rotary_width: vision.head_dim as usize / 2,
            patches: fixed_patches(vision),
            takes: [vision.position_side.is_some(), vision.rotary_theta.is_some(), vision.window.is_some()],
        }))
    }

    /// What the tower runs on.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    fn check(&self, input: &VisionInput<'_>) -> Result<(), SessionError> {
        let (grids, patches, width) = input.patches.dim();
        let shape = format!("{grids} grids of {patches} patches of {width} values");
        if grids * patches * width == 0 {
            return Err(SessionError::Input(shape));
        }
        if let Some(fixed) = self.patches.filter(|&fixed| fixed != patches as u64) {
            return Err(SessionError::Input(format!("{shape}, where the tower takes {fixed} patches")));
        }
        let grid = input.grid;
        let given = [grid.table.is_some(), grid.angles.is_some(), grid.windows.is_some()];
        if given != self.takes {
            let wanted = self.takes;
            return Err(SessionError::Input(format!(
                "{shape} with table, angles, windows {given:?}, where the graph takes {wanted:?}"
            )));
        }
        let lengths = self.lengths(grid, patches);
        match lengths.iter().find(|(_, found, expected)| found != expected) {
            Some((name, found, expected)) => {
                Err(SessionError::Input(format!("{shape} with {found} values of {name}, not {expected}")))
            }
            None => Ok(()),
        }
    }

    /// Name, number and expected number of the values of each input.
    fn lengths(&self, grid: &GridRows, patches: usize) -> Vec<(&'static str, usize, usize)> {
        let mut all = Vec::new();
        if let Some(table) = &grid.table {
            all.push((names::POSITION_INDEX, table.index.len(), 4 * patches));
            all.push((names::POSITION_WEIGHT, table.weight.len(), 4 * patches));
        }
        if let Some(angles) = &grid.angles {
            all.push((names::ROTARY_COS, angles.cos.len(), patches * self.rotary_width));
            all.push((names::ROTARY_SIN, angles.sin.len(), patches * self.rotary_width));
        }
        if let Some(windows) = &grid.windows {
            all.push((names::WINDOW_ROWS, windows.rows.len(), windows.lengths.len() * windows.longest()));
            all.push((names::WINDOW_PLACES, windows.places.len(), patches));
        }
        all
    }

    /// The rows of one grid, as the graph takes them.
    fn grid_inputs<'a>(&self, grid: &'a GridRows, patches: usize) -> Result<Inputs<'a>, SessionError> {
        let mut all = Inputs::default();
        if let Some(table) = &grid.table {
            all.push(names::POSITION_INDEX, vec![patches, 4], &table.index)?;
            all.push(names::POSITION_WEIGHT, vec![patches, 4], &table.weight)?;
        }
        if let Some(angles) = &grid.angles {
            all.push(names::ROTARY_COS, vec![patches, self.rotary_width], &angles.cos)?;
            all.push(names::ROTARY_SIN, vec![patches, self.rotary_width], &angles.sin)?;
        }
        if let Some(windows) = &grid.windows {
            let count = windows.lengths.len();
            all.push(names::WINDOW_ROWS, vec![count, windows.longest()], &windows.rows)?;
            all.push(names::WINDOW_LENGTHS, vec![count], &windows.lengths)?;
            all.push(names::WINDOW_PLACES, vec![patches], &windows.places)?;
        }
        Ok(all)
    }
}

/// The number of patches that the graph says it takes.
fn fixed_patches(vision: &VisionComponent) -> Option<u64> {
    let port = vision.graph.inputs.iter().find(|port| port.name == names::PATCHES)?;
    match port.shape.get(1) {
        Some(Dim::Fixed(patches)) => Some(*patches),
        Some(Dim::Named(_)) | None => None,
    }
}

/// Inputs of a run by name.
#[derive(Default)]
struct Inputs<'a>(Vec<(&'static str, SessionInputValue<'a>)>);

impl<'a> Inputs<'a> {
    fn push<T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
        &mut self,
        name: &'static str,
        shape: Vec<usize>,
        values: &'a [T],
    ) -> Result<(), SessionError> {
        let view = TensorRef::from_array_view((shape, values));
        let view = view.map_err(|e| SessionError::runtime("view the vision inputs", &e))?;
        self.0.push((name, view.into()));
        Ok(())
    }
}

impl VisionSession for OrtVision {
    fn run(&mut self, input: &VisionInput<'_>) -> Result<Features, SessionError> {
        self.check(input)?;
        let (grids, patches, width) = input.patches.dim();
        let contiguous = input.patches.as_standard_layout();
        let values = contiguous.as_slice().ok_or_else(|| SessionError::Input("patches in pieces".into()))?;
        let mut inputs = self.grid_inputs(input.grid, patches)?;
        inputs.push(names::PATCHES, vec![grids, patches, width], values)?;
        let outputs =
            self.session.run(inputs.0).map_err(|e| SessionError::runtime("run the vision tower", &e))?;
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
