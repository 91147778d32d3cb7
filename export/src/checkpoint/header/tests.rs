use super::*;
use proptest::prelude::*;

/// The one door: a header over `data` bytes gives these names in data order, or an error that says `expected`.
fn check(json: &str, data: u64, expected: Result<&[&str], &str>) {
    match (parse(json.as_bytes(), data), expected) {
        (Ok(got), Ok(want)) => assert_eq!(got.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), want),
        (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{json}: {got} lacks {want}"),
        (got, want) => panic!("{json}: got {got:?}, wanted {want:?}"),
    }
}

fn one(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

#[test]
fn tensors_come_back_in_data_order_and_metadata_is_no_tensor() {
    let json = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}  "#;
    check(json, 16, Ok(&["a", "b"]));
    check("{}", 0, Ok(&[]));
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    check(&format!(r#"{{"a":{entry},"a":{entry}}}"#), 4, Err(r#"the name "a" stands twice"#));
    check(r#"{"__metadata__":{"x":"1","x":"2"}}"#, 0, Err("stands twice"));
    check(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, Err("stands twice"));
}

#[test]
fn strange_names_are_refused() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for name in ["../../etc/x", "a\\u0000b", "", "a b", "ä", long.as_str()] {
        check(&format!(r#"{{"{name}":{entry}}}"#), 4, Err("characters of [A-Za-z0-9._-]"));
    }
}

#[test]
fn only_three_dtypes_are_read_and_others_are_named() {
    check(&one("BF16", "[2]", "[0,4]"), 4, Ok(&["a"]));
    for dtype in ["F64", "I8", "F8_E4M3", "bf16"] {
        check(&one(dtype, "[1]", "[0,1]"), 1, Err(&format!("dtype {dtype:?}")));
    }
}

#[test]
fn sizes_that_do_not_follow_from_shape_and_dtype_are_refused() {
    check(&one("F32", "[2]", "[0,7]"), 7, Err("do not hold a shape of [2] in F32"));
    check(&one("F32", "[2]", "[8,0]"), 8, Err("do not hold"));
    check(&one("F32", "[0]", "[0,0]"), 0, Err("at most 8 dimensions of 1..="));
    check(&one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, Err("at most 8 dimensions"));
    check(&one("F32", "[2147483648]", "[0,4]"), 4, Err("of 1..=2147483647"));
    // 4 * 2147483647^3 wraps around 64 bits.
    check(&one("F32", "[2147483647,2147483647,2147483647]", "[0,4]"), 4, Err("do not hold"));
    check(&one("F32", "[-1]", "[0,4]"), 4, Err("cannot be read"));
}

#[test]
fn gaps_overlaps_and_tails_are_refused() {
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[1],"data_offsets":{b}}}}}"#
        )
    };
    check(&two("[0,4]", "[4,8]"), 8, Ok(&["a", "b"]));
    check(&two("[0,4]", "[5,9]"), 9, Err("leaves a gap"));
    check(&two("[0,4]", "[3,7]"), 7, Err("overlaps"));
    check(&two("[0,4]", "[0,4]"), 4, Err("overlaps"));
    check(&two("[4,8]", "[8,12]"), 12, Err("leaves a gap"));
    check(&two("[0,4]", "[4,8]"), 9, Err("take 8 bytes, the file holds 9"));
    check(&two("[0,4]", "[4,8]"), 7, Err("take 8 bytes, the file holds 7"));
}

#[test]
fn unknown_fields_of_a_tensor_are_refused() {
    check(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4, Err("unknown field"));
    check(r#"{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}"#, 4, Err("duplicate field"));
    check("[]", 0, Err("an object of tensors"));
}

#[test]
fn the_announced_length_must_fit_the_file_and_the_limit() {
    assert_eq!(header_len(10_u64.to_le_bytes(), 18), Ok(10));
    assert_eq!(header_len(11_u64.to_le_bytes(), 18), Err(HeaderError::Short { header: 11, file: 18 }));
    assert_eq!(header_len([255; 8], u64::MAX), Err(HeaderError::Short { header: u64::MAX, file: u64::MAX }));
    let long = MAX_HEADER_BYTES + 1;
    assert_eq!(header_len(long.to_le_bytes(), u64::MAX), Err(HeaderError::Long(long)));
}

/// Prints entries as a safetensors header, the inverse of [`parse`].
fn print(entries: &[Entry]) -> String {
    let body = entries.iter().map(|e| {
        let (name, dtype) = (&e.name, e.dtype.name());
        format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{:?},"data_offsets":[{},{}]}}"#,
            e.shape, e.begin, e.end
        )
    });
    format!("{{{}}}", body.collect::<Vec<_>>().join(","))
}

fn some_entries() -> impl Strategy<Value = Vec<Entry>> {
    let shape = prop::collection::vec(1_usize..9, 0..4);
    let dtype = prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::Bf16]);
    prop::collection::btree_map("[A-Za-z0-9._-]{1,12}", (dtype, shape), 0..12).prop_map(|map| {
        let mut at = 0;
        let place = |(name, (dtype, shape)): (String, (Dtype, Vec<usize>))| {
            let begin = at;
            at += (dtype.bytes() * shape.iter().product::<usize>()) as u64;
            Entry { name, dtype, shape, begin, end: at }
        };
        map.into_iter().map(place).collect()
    })
}

/// What an accepted header promises, written without the parser's helpers.
fn assert_sound(entries: &[Entry], data: u64) {
    let names: std::collections::HashSet<_> = entries.iter().map(|e| &e.name).collect();
    assert_eq!(names.len(), entries.len());
    let mut at = 0;
    for e in entries {
        assert_eq!(e.begin, at);
        let width = if e.dtype == Dtype::F32 { 4 } else { 2 };
        assert_eq!(u128::from(e.end - e.begin), e.shape.iter().map(|&d| d as u128).product::<u128>() * width);
        assert!(e.name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)));
        at = e.end;
    }
    assert_eq!(at, data);
}

proptest! {
    #[test]
    fn a_printed_header_reads_back_the_same(entries in some_entries()) {
        let data = entries.last().map_or(0, |e| e.end);
        prop_assert_eq!(parse(print(&entries).as_bytes(), data).unwrap(), entries);
    }

    #[test]
    fn bytes_never_panic_and_what_is_accepted_is_sound(bytes in prop::collection::vec(any::<u8>(), 0..200), data in 0_u64..64) {
        if let Ok(entries) = parse(&bytes, data) {
            assert_sound(&entries, data);
        }
    }

    #[test]
    fn a_changed_byte_of_a_good_header_is_refused_or_still_sound(
        entries in some_entries(), place in any::<prop::sample::Index>(), byte in any::<u8>(), add in -4_i64..4
    ) {
        let mut text = print(&entries).into_bytes();
        let at = place.index(text.len());
        text[at] = byte;
        let data = entries.last().map_or(0, |e| e.end).saturating_add_signed(add);
        if let Ok(got) = parse(&text, data) {
            assert_sound(&got, data);
        }
    }
}
