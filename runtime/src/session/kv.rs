//! The memory of slots: keys and values that the decoder graph reads and writes in place, and recurrent states that
//! it reads in one buffer and writes in another.
//!
//! One of the two files with unsafe code. Each layer has a block of keys and one of values, `[slots, heads,
//! capacity, head_dim]`, in the floats that the graph computes in, in the memory of whatever computes. A run binds the sub-range of its slots as `past` *and* `present` at the same address;
//! the attention operator sees that the two are one and appends in place, so a step costs the same at any
//! capacity. The safe binding of rc.15 cannot express it (its `bind_input` copies borrowed tensors and takes a lock
//! twice), hence the raw table.
//!
//! A recurrent state is overwritten as a whole, so a run that failed half-way would leave nothing to go on from. It has
//! two buffers, the sides: a run binds one as past and the other as present, and which side holds a slot's state is
//! told by the caller, who turns it after a run that succeeded.
//!
//! What keeps it sound:
//!
//! * blocks never move and outlive the bindings (fields drop in order: bindings, session, blocks);
//! * a run borrows the runner mutably and the step's inputs immutably until the runtime returns;
//! * every input and output that is not a cache block is bound anew before each run, so a stale pointer of an
//!   earlier run is never read.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr::NonNull;

use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use ort_sys::ONNXTensorElementDataType as Element;
use rewardrt_models::package::Activations;

use super::SessionError;
use super::copier::{self, Copier};

/// Host blocks start at a cache line.
const ALIGNMENT: usize = 64;
const FLOAT: usize = size_of::<f32>();

/// Sizes of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub(crate) layers: usize,
    pub(crate) slots: usize,
    pub(crate) heads: usize,
    pub(crate) capacity: usize,
    pub(crate) head_dim: usize,
    /// What keys and values are.
    pub(crate) floats: Activations,
}

/// Where a cache lies.
pub(crate) enum Place {
    /// In memory of this process, whose pages are committed when they are written.
    Host,
    /// In memory that the runtime allocates where a session computes; the copier computes there too.
    Device(AllocationDevice<'static>, Copier),
}

impl CacheShape {
    /// Bytes of a head's row.
    fn row(&self) -> usize {
        self.head_dim * self.floats.bytes()
    }

    /// Bytes of a slot in one block.
    fn slot(&self) -> usize {
        self.heads * self.capacity * self.row()
    }

    /// Bytes of a block; `None` when that is no size.
    fn block(&self) -> Option<usize> {
        let sizes = [self.slots, self.heads, self.capacity, self.head_dim];
        sizes.into_iter().try_fold(self.floats.bytes(), usize::checked_mul)
    }

    fn bytes(&self) -> u64 {
        let block = self.block().unwrap_or(usize::MAX) as u64;
        block.saturating_mul(2).saturating_mul(self.layers as u64)
    }

    fn element(&self) -> Element {
        match self.floats {
            Activations::F32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            Activations::F16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
            Activations::Bf16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        }
    }
}

/// Zeroed bytes of the host. Pages are committed when they are first written, so idle slots cost nothing.
struct HostBlock {
    raw: NonNull<u8>,
    layout: Layout,
    data: NonNull<u8>,
}

// SAFETY: The block owns its memory and hands out pointers only to a holder of the runner.
unsafe impl Send for HostBlock {}

impl HostBlock {
    fn new(bytes: usize) -> Option<HostBlock> {
        let bytes = bytes.checked_add(ALIGNMENT)?;
        // Asking the allocator itself for a large alignment would make it write all zeroes at once.
        let layout = Layout::from_size_align(bytes, align_of::<f32>()).ok()?;
        // SAFETY: The layout's size is at least ALIGNMENT, so not zero.
        let raw = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let shift = raw.align_offset(ALIGNMENT);
        if shift >= ALIGNMENT {
            // SAFETY: Allocated above with this layout.
            unsafe { dealloc(raw.as_ptr(), layout) };
            return None;
        }
        // SAFETY: The shift is below ALIGNMENT, by which the allocation is larger than the bytes asked for.
        let data = unsafe { raw.add(shift) };
        Some(HostBlock { raw, layout, data })
    }
}

impl Drop for HostBlock {
    fn drop(&mut self) {
        // SAFETY: Allocated in `new` with this layout and freed nowhere else.
        unsafe { dealloc(self.raw.as_ptr(), self.layout) };
    }
}

/// Keys or values of one layer.
enum Block {
    Host(HostBlock),
    Device(Tensor<u8>),
}

impl Block {
    fn address(&mut self) -> *mut u8 {
        match self {
            Block::Host(block) => block.data.as_ptr(),
            Block::Device(tensor) => tensor.data_ptr_mut().cast(),
        }
    }
}

/// One recurrent state of all slots, `[slots, ..]`, f32, on the host.
struct State {
    /// Shape of a slot's state.
    dims: Vec<usize>,
    sides: [HostBlock; 2],
}

impl State {
    fn new(slots: usize, dims: &[usize]) -> Option<State> {
        let bytes = dims.iter().try_fold(slots * FLOAT, |n, &d| n.checked_mul(d))?;
        Some(State { dims: dims.to_vec(), sides: [HostBlock::new(bytes)?, HostBlock::new(bytes)?] })
    }

    /// Bytes of a slot.
    fn slot(&self) -> usize {
        FLOAT * self.dims.iter().product::<usize>()
    }
}

/// Where a slot's recurrent states are: the slot and the side.
pub(crate) type StatePlace = (usize, usize);

/// All blocks of a decoder.
struct Cache {
    shape: CacheShape,
    memory: MemoryInfo<'static>,
    /// Keys of layer 0, values of layer 0, keys of layer 1, ..
    blocks: Vec<Block>,
    states: Vec<State>,
    /// Copies where the blocks are not the host's.
    copier: Option<Copier>,
}

impl Cache {
    fn new(
        session: &Session,
        shape: CacheShape,
        states: &[Vec<usize>],
        place: Place,
    ) -> Result<Cache, SessionError> {
        let state_values = |dims: &Vec<usize>| dims.iter().fold(shape.slots, |n, &d| n.saturating_mul(d));
        let state_bytes = states.iter().map(|dims| state_values(dims).saturating_mul(2 * FLOAT) as u64);
        let bytes = state_bytes.fold(shape.bytes(), u64::saturating_add);
        let out_of_memory = || SessionError::Memory { bytes };
        let block_bytes = shape.block().ok_or_else(out_of_memory)?;
        let state = |dims: &Vec<usize>| State::new(shape.slots, dims).ok_or_else(out_of_memory);
        let states = states.iter().map(state).collect::<Result<_, _>>()?;
        let device = match &place {
            Place::Host => AllocationDevice::CPU,
            Place::Device(device, _) => device.clone(),
        };
        let describe = |e| SessionError::runtime("describe the cache's memory", &e);
        let info = || MemoryInfo::new(device.clone(), 0, AllocatorType::Device, MemoryType::Default);
        let mut cache =
            Cache { shape, memory: info().map_err(describe)?, blocks: Vec::new(), states, copier: None };
        match place {
            Place::Host => {
                let block = |_| HostBlock::new(block_bytes).map(Block::Host).ok_or_else(out_of_memory);
                cache.blocks = (0..2 * shape.layers).map(block).collect::<Result<_, _>>()?;
            }
            Place::Device(_, copier) => {
                let allocator = info().and_then(|info| Allocator::new(session, info)).map_err(describe)?;
                let block = |_| Tensor::new(&allocator, [block_bytes]).map(Block::Device);
                let blocks = (0..2 * shape.layers).map(block).collect::<ort::Result<_>>();
                cache.blocks = blocks.map_err(|_| out_of_memory())?;
                cache.copier = Some(copier);
                cache.clear()?;
            }
        }
        Ok(cache)
    }

    /// Zeroes every block of a device, so that no row of a slot ever holds foreign bytes.
    fn clear(&mut self) -> Result<(), SessionError> {
        let zeroes = vec![0_u8; self.shape.slot()];
        let feed = Feed { values: Values::U8(&zeroes), dims: &[zeroes.len()] };
        let host = feed_tensor(&MemoryInfo::default(), &feed)?;
        for block in 0..self.blocks.len() {
            for slot in 0..self.shape.slots {
                let view = self.bytes(block, slot)?;
                self.device_copy(&host, &view)?;
            }
        }
        Ok(())
    }

    /// The bytes of one slot of one block.
    fn bytes(&mut self, block: usize, slot: usize) -> Result<RawTensor, SessionError> {
        debug_assert!(slot < self.shape.slots);
        let (bytes, element) = (self.shape.slot(), Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
        // SAFETY: The caller has checked the slot, so the address stays inside the block.
        let address = unsafe { self.blocks[block].address().add(slot * bytes) };
        // SAFETY: The block holds `slots` slots of this size, lives as long as the runner, and never moves.
        unsafe { RawTensor::over(&self.memory, address.cast(), bytes, &[bytes as i64], element) }
    }

    /// Runs the copier's graph from one tensor of bytes into another of the same length.
    fn device_copy(&mut self, from: &RawTensor, to: &RawTensor) -> Result<(), SessionError> {
        let Some(copier) = &mut self.copier else {
            return Err(SessionError::Input("a cache of the host has no copier".into()));
        };
        let made = copier.session.create_binding();
        let mut binding = made.map_err(|e| SessionError::runtime("make a binding", &e))?;
        bind(&mut binding, Side::Input, copier::INPUT, from)?;
        bind(&mut binding, Side::Output, copier::OUTPUT, to)?;
        run_bound(&mut copier.session, &binding, "copy within the cache")
    }

    /// A view of the neighbouring slots `first .. first + rows` of one block.
    fn view(&mut self, block: usize, first: usize, rows: usize) -> Result<RawTensor, SessionError> {
        let s = self.shape;
        debug_assert!(first + rows <= s.slots);
        // SAFETY: The range was checked against the slots by the caller, so the address stays inside the block.
        let address = unsafe { self.blocks[block].address().add(first * s.slot()) };
        let dims = [rows, s.heads, s.capacity, s.head_dim].map(|d| d as i64);
        // SAFETY: The block holds `slots` slots of this shape, lives as long as the runner, and never moves.
        unsafe { RawTensor::over(&self.memory, address.cast(), rows * s.slot(), &dims, s.element()) }
    }
}

/// A view of the neighbouring slots `first .. first + rows` of one side of a state. The caller has checked the range.
fn state_view(
    memory: &MemoryInfo<'_>,
    state: &State,
    side: usize,
    (first, rows): (usize, usize),
) -> Result<RawTensor, SessionError> {
    let dims: Vec<i64> = [rows].iter().chain(&state.dims).map(|&d| d as i64).collect();
    let bytes = rows * state.slot();
    // SAFETY: The range was checked against the slots by the caller, so the address stays inside the block.
    let address = unsafe { state.sides[side].data.add(first * state.slot()) };
    let element = Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    // SAFETY: The side holds all slots in this shape, lives as long as the runner, and never moves.
    unsafe { RawTensor::over(memory, address.as_ptr().cast(), bytes, &dims, element) }
}

/// A tensor over memory that somebody else owns.
struct RawTensor(NonNull<ort_sys::OrtValue>);

impl RawTensor {
    /// # Safety
    /// `data` must be valid for `bytes` bytes of `element` in `dims` for as long as the runtime may touch it: until
    /// the name that the tensor is bound to is bound again, or no run happens any more.
    unsafe fn over(
        memory: &MemoryInfo<'_>,
        data: *mut c_void,
        bytes: usize,
        dims: &[i64],
        element: Element,
    ) -> Result<RawTensor, SessionError> {
        let mut value = std::ptr::null_mut();
        // SAFETY: The pointers are valid for the call; the runtime copies the dimensions.
        let made = unsafe {
            let create = ort::api().CreateTensorWithDataAsOrtValue;
            let status = create(memory.ptr(), data, bytes, dims.as_ptr(), dims.len(), element, &mut value);
            ort::Error::result_from_status(status)
        };
        made.map_err(|e| SessionError::runtime("view memory as a tensor", &e))?;
        NonNull::new(value).map(RawTensor).ok_or_else(|| SessionError::Runtime {
            action: "view memory as a tensor",
            reason: "it returned nothing".into(),
        })
    }
}

impl Drop for RawTensor {
    fn drop(&mut self) {
        // SAFETY: Made in `over`, released once. A binding keeps its own reference.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

/// The values of one input of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    I64(&'a [i64]),
    I32(&'a [i32]),
    U8(&'a [u8]),
}

impl Values<'_> {
    fn parts(&self) -> (*const c_void, usize, usize, Element) {
        match self {
            Values::F32(v) => (v.as_ptr().cast(), v.len(), 4, Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
            Values::I64(v) => (v.as_ptr().cast(), v.len(), 8, Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
            Values::I32(v) => (v.as_ptr().cast(), v.len(), 4, Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32),
            Values::U8(v) => (v.as_ptr().cast(), v.len(), 1, Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8),
        }
    }
}

/// One input of a run: its values and shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feed<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) dims: &'a [usize],
}

/// Names of a decoder graph.
pub(crate) struct Names {
    /// Inputs that are fed, in the order of the feeds.
    pub(crate) fed: Vec<CString>,
    /// Past and present of each block.
    pub(crate) cache: Vec<(CString, CString)>,
    /// Past and present of each recurrent state.
    pub(crate) states: Vec<(CString, CString)>,
    /// The output.
    pub(crate) logits: CString,
}

/// A session with its cache.
pub(crate) struct KvRunner {
    /// By first slot, number of slots and side of the past; each with its cache views bound. At most
    /// `slots * (slots + 1) / 2` a side.
    bindings: BTreeMap<(usize, usize, usize), IoBinding>,
    session: Session,
    cache: Cache,
    host: MemoryInfo<'static>,
    names: Names,
}

impl KvRunner {
    /// Allocates the cache in its place, and states of these shapes (of a slot) on the host.
    pub(crate) fn new(
        session: Session,
        names: Names,
        (shape, states): (CacheShape, &[Vec<usize>]),
        place: Place,
    ) -> Result<KvRunner, SessionError> {
        debug_assert_eq!(names.cache.len(), 2 * shape.layers);
        debug_assert_eq!(names.states.len(), states.len());
        let cache = Cache::new(&session, shape, states, place)?;
        Ok(KvRunner { bindings: BTreeMap::new(), session, cache, host: MemoryInfo::default(), names })
    }

    /// One run over the slots `first .. first + rows`, whose states are read on `side`. `feeds` are in the order of the fed names; the result is
    /// written to `logits`, `[n, outputs]`.
    pub(crate) fn run(
        &mut self,
        (first, rows): (usize, usize),
        side: usize,
        feeds: &[Feed<'_>],
        logits: &mut ndarray::Array2<f32>,
    ) -> Result<(), SessionError> {
        let inside = rows > 0 && first + rows <= self.cache.shape.slots && side < 2;
        if feeds.len() != self.names.fed.len() || !inside {
            return Err(SessionError::Input("slots or feeds do not belong to this session".into()));
        }
        self.prepare(first, rows, side)?;
        let Some(binding) = self.bindings.get_mut(&(first, rows, side)) else {
            return Err(SessionError::Input("no binding".into()));
        };
        for (name, feed) in self.names.fed.iter().zip(feeds) {
            let tensor = feed_tensor(&self.host, feed)?;
            bind(binding, Side::Input, name, &tensor)?;
        }
        let dims = [logits.nrows() as i64, logits.ncols() as i64];
        let bytes = logits.len() * FLOAT;
        let Some(values) = logits.as_slice_mut() else {
            return Err(SessionError::Input("logits are not contiguous".into()));
        };
        let (data, element) = (values.as_mut_ptr().cast(), Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
        // SAFETY: The slice is borrowed mutably until this function returns, and the run ends before.
        let tensor = unsafe { RawTensor::over(&self.host, data, bytes, &dims, element) }?;
        bind(binding, Side::Output, &self.names.logits, &tensor)?;
        run_bound(&mut self.session, binding, "run the decoder")
    }

    /// Binds the cache views of a range of slots once.
    fn prepare(&mut self, first: usize, rows: usize, side: usize) -> Result<(), SessionError> {
        if self.bindings.contains_key(&(first, rows, side)) {
            return Ok(());
        }
        let made = self.session.create_binding();
        let mut binding = made.map_err(|e| SessionError::runtime("make a binding", &e))?;
        for (block, (past, present)) in self.names.cache.iter().enumerate() {
            let view = self.cache.view(block, first, rows)?;
            bind(&mut binding, Side::Input, past, &view)?;
            bind(&mut binding, Side::Output, present, &view)?;
        }
        for (state, (past, present)) in self.cache.states.iter().zip(&self.names.states) {
            let view = |side| state_view(&self.cache.memory, state, side, (first, rows));
            bind(&mut binding, Side::Input, past, &view(side)?)?;
            bind(&mut binding, Side::Output, present, &view(1 - side)?)?;
        }
        self.bindings.insert((first, rows, side), binding);
        Ok(())
    }

    /// Overwrites the states of a slot on one side with zeroes.
    pub(crate) fn clear_states(&mut self, (slot, side): StatePlace) -> Result<(), SessionError> {
        self.check_places(&[(slot, side)])?;
        for state in &mut self.cache.states {
            let bytes = state.slot();
            // SAFETY: The slot lies inside the side by the check above, and no run reads it: `self` is borrowed
            // mutably. All bits zero is the float 0.
            unsafe { state.sides[side].data.add(slot * bytes).write_bytes(0, bytes) };
        }
        Ok(())
    }

    /// Copies the states of a slot to another slot, or to its own other side.
    pub(crate) fn copy_states(&mut self, from: StatePlace, to: StatePlace) -> Result<(), SessionError> {
        self.check_places(&[from, to])?;
        for state in &mut self.cache.states {
            let bytes = state.slot();
            // SAFETY: Both ranges lie inside their sides by the check above; `copy_to` allows them to be the same.
            unsafe {
                let source = state.sides[from.1].data.add(from.0 * bytes);
                source.copy_to(state.sides[to.1].data.add(to.0 * bytes), bytes);
            }
        }
        Ok(())
    }

    fn check_places(&self, places: &[StatePlace]) -> Result<(), SessionError> {
        if places.iter().any(|&(slot, side)| slot >= self.cache.shape.slots || side > 1) {
            return Err(SessionError::Input("a slot's states are out of range".into()));
        }
        Ok(())
    }

    /// Copies the first `tokens` rows of every head from slot to slot; on a device the whole slot, in one piece, which
    /// its memory is fast enough for and what lies behind a prefix does not matter. The caller has checked the ranges.
    pub(crate) fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        let s = self.cache.shape;
        if from >= s.slots || to >= s.slots || tokens > s.capacity {
            return Err(SessionError::Input("slots or tokens out of range".into()));
        }
        if from == to {
            return Ok(());
        }
        for i in 0..self.cache.blocks.len() {
            let Block::Host(block) = &self.cache.blocks[i] else {
                let (source, target) = (self.cache.bytes(i, from)?, self.cache.bytes(i, to)?);
                self.cache.device_copy(&source, &target)?;
                continue;
            };
            for head in 0..s.heads {
                let at = |slot: usize| slot * s.slot() + head * s.capacity * s.row();
                // SAFETY: Both ranges lie inside the block by the checks above, and in different slots.
                unsafe {
                    let source = block.data.add(at(from));
                    block.data.add(at(to)).copy_from_nonoverlapping(source, tokens * s.row());
                }
            }
        }
        Ok(())
    }

    /// A copy of one block of 32-bit floats, for tests.
    #[cfg(test)]
    pub(crate) fn block(&mut self, block: usize) -> ndarray::Array4<f32> {
        let s = self.cache.shape;
        assert_eq!(s.floats, Activations::F32);
        let address = self.cache.blocks[block].address().cast();
        // SAFETY: Tests run on the host, where a block holds that many initialised values.
        let values = unsafe { std::slice::from_raw_parts(address, s.slots * s.slot() / FLOAT) };
        ndarray::Array4::from_shape_vec((s.slots, s.heads, s.capacity, s.head_dim), values.to_vec()).unwrap()
    }

    /// Overwrites all blocks with one 32-bit float, for tests.
    #[cfg(test)]
    pub(crate) fn fill(&mut self, value: f32) {
        let s = self.cache.shape;
        assert_eq!(s.floats, Activations::F32);
        for block in &mut self.cache.blocks {
            let address = block.address().cast::<f32>();
            // SAFETY: As in `block`, and the runner is borrowed mutably.
            unsafe { std::slice::from_raw_parts_mut(address, s.slots * s.slot() / FLOAT) }.fill(value);
        }
    }
}

fn feed_tensor(host: &MemoryInfo<'_>, feed: &Feed<'_>) -> Result<RawTensor, SessionError> {
    let (data, count, size, element) = feed.values.parts();
    if feed.dims.iter().product::<usize>() != count {
        return Err(SessionError::Input(format!("{count} values for the shape {:?}", feed.dims)));
    }
    let dims: Vec<i64> = feed.dims.iter().map(|&d| d as i64).collect();
    // SAFETY: The values are borrowed until the run returns; the runtime reads inputs only.
    unsafe { RawTensor::over(host, data.cast_mut(), count * size, &dims, element) }
}

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

/// A run of a session whose names are all bound to live memory.
fn run_bound(session: &mut Session, binding: &IoBinding, action: &'static str) -> Result<(), SessionError> {
    // SAFETY: The callers bind every name of the graph to memory that outlives this call. The session is borrowed
    // mutably, so this is its only run; no run options means the default ones.
    let ran = unsafe {
        let status = (ort::api().RunWithBinding)(session.ptr().cast_mut(), std::ptr::null(), binding.ptr());
        ort::Error::result_from_status(status)
    };
    ran.map_err(|e| SessionError::runtime(action, &e))
}

fn bind(binding: &mut IoBinding, side: Side, name: &CStr, tensor: &RawTensor) -> Result<(), SessionError> {
    // SAFETY: All pointers are valid for the call; the binding takes its own reference to the value.
    let bound = unsafe {
        let status = match side {
            Side::Input => (ort::api().BindInput)(binding.ptr_mut(), name.as_ptr(), tensor.0.as_ptr()),
            Side::Output => (ort::api().BindOutput)(binding.ptr_mut(), name.as_ptr(), tensor.0.as_ptr()),
        };
        ort::Error::result_from_status(status)
    };
    bound.map_err(|e| SessionError::runtime("bind a tensor", &e))
}
