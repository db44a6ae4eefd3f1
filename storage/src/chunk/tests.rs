use arrow::array::{Date32Array, Decimal128Array, Int16Array, Int64Array, StringViewArray};
use arrow::datatypes::Int32Type;

use super::*;

/// A small generator: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn chunk_of(array: &ArrayRef) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::new(array.data_type(), array.len());
    for start in (0..array.len()).step_by(BLOCK_ROWS) {
        let block = array.slice(start, BLOCK_ROWS.min(array.len() - start));
        builder.push(block).unwrap();
    }
    Arc::new(builder.finish().unwrap())
}

fn blocks(array: &ArrayRef) -> impl Iterator<Item = (usize, ArrayRef)> + '_ {
    let starts = (0..array.len()).step_by(BLOCK_ROWS);
    starts
        .map(|start| array.slice(start, BLOCK_ROWS.min(array.len() - start)))
        .enumerate()
}

fn rows_of(selected: &Selected, rows: usize) -> Vec<bool> {
    match selected {
        Selected::None => vec![false; rows],
        Selected::All => vec![true; rows],
        Selected::Some(selected) => selected.iter().collect(),
    }
}

/// Reads back what was put in, whole blocks and some rows of them.
fn check_reading(array: &ArrayRef, random: &mut Random) {
    let chunk = chunk_of(array);
    assert_eq!(chunk.data_type(), array.data_type());
    let mut gather = Gather::new(&chunk, chunk.data_type());
    let mut expected: Vec<ArrayRef> = Vec::new();
    for (number, block) in blocks(array) {
        assert_eq!(&chunk.read(number, None).unwrap(), &block);
        let rows: Vec<u32> = (0..block.len() as u32).filter(|_| random.below(5) == 0).collect();
        let some = arrow::compute::take(&block, &arrow::array::UInt32Array::from(rows.clone()), None).unwrap();
        assert_eq!(&chunk.read(number, Some(&rows)).unwrap(), &some);
        gather.add(number, Some(&rows)).unwrap();
        gather.add(number, None).unwrap();
        expected.extend([some, block]);
    }
    let expected: Vec<&dyn Array> = expected.iter().map(AsRef::as_ref).collect();
    assert_eq!(&gather.finish().unwrap(), &concat(&expected).unwrap());
    assert_eq!(gather.finish().unwrap().len(), 0);
}

#[test]
fn integers_of_every_width() {
    let mut random = Random(3);
    for round in 0..60u64 {
        let rows = 1 + random.below(20_000) as usize;
        let span = 1u64 << random.below(63);
        let base = (random.below(u64::MAX) as i64).wrapping_add(round as i64);
        let nulls = random.below(3);
        let values: Vec<Option<i64>> = (0..rows)
            .map(|_| {
                let value = base.wrapping_add(random.below(span) as i64);
                (nulls == 0 || random.below(if nulls == 1 { 5 } else { 1 }) != 0).then_some(value)
            })
            .collect();
        let array: ArrayRef = Arc::new(Int64Array::from(values.clone()));
        check_reading(&array, &mut random);

        let chunk = chunk_of(&array);
        for round in 0..8 {
            let from = base.wrapping_add(random.below(span) as i64);
            let any = values.get(random.below(values.len() as u64) as usize);
            let (from, to) = match any {
                Some(Some(value)) if round < 2 => (*value, *value),
                _ => (from, from.saturating_add(random.below(span) as i64)),
            };
            for (number, block) in values.chunks(BLOCK_ROWS).enumerate() {
                let found = chunk.select_range(number, &(from..=to)).unwrap();
                let expected: Vec<bool> = block
                    .iter()
                    .map(|v| v.is_some_and(|v| (from..=to).contains(&v)))
                    .collect();
                assert_eq!(rows_of(&found, block.len()), expected);
                let found = chunk.select_other_than(number, from).unwrap();
                let expected: Vec<bool> = block.iter().map(|v| v.is_some_and(|v| v != from)).collect();
                assert_eq!(rows_of(&found, block.len()), expected);
            }
        }
        if let Some(Domain::Integers(range)) = chunk.domain() {
            let null_passes = random.below(2) == 0;
            let passes: Vec<bool> = range.clone().map(|_| random.below(2) == 0).collect();
            for (number, block) in values.chunks(BLOCK_ROWS).enumerate() {
                let found = chunk.select_in_domain(number, &passes, *range.start(), null_passes);
                let expected = block.iter().map(|value| match value {
                    Some(value) => passes[(value - range.start()) as usize],
                    None => null_passes,
                });
                assert_eq!(rows_of(&found, block.len()), expected.collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn extremes_and_other_types() {
    let mut random = Random(5);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0, -1])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MIN)])),
        Arc::new(Int64Array::from(vec![None::<i64>, None])),
        Arc::new(Int16Array::from(vec![i16::MIN, 0, i16::MAX])),
        Arc::new(Date32Array::from(vec![Some(20_000), None, Some(-7)])),
        Arc::new(Decimal128Array::from(vec![Some(5), None, Some(-5)]).with_data_type(DataType::Decimal128(12, 2))),
        // Beyond 64 bits, after a block that is not.
        Arc::new(
            Decimal128Array::from_iter_values((0..10_000i128).map(|v| if v == 9_000 { 1 << 100 } else { v }))
                .with_data_type(DataType::Decimal128(38, 3)),
        ),
        Arc::new(StringViewArray::from(vec![
            Some("a text that is not inlined"),
            None,
            Some("b"),
        ])),
    ];
    for array in &arrays {
        check_reading(array, &mut random);
    }
    let chunk = chunk_of(&arrays[0]);
    let all = chunk.select_range(0, &(i64::MIN..=i64::MAX)).unwrap();
    assert_eq!(all.count(4), 4);
    assert_eq!(chunk.select_range(0, &(-1..=0)).unwrap().count(4), 2);
    assert!(chunk.domain().is_none());
}

#[test]
fn few_texts_are_codes() {
    let mut random = Random(9);
    for distinct in [1u64, 3, 300, 2_000] {
        let rows = 20_000;
        let texts: arrow::array::DictionaryArray<Int32Type> = (0..rows)
            .map(|_| (random.below(9) != 0).then(|| format!("the text number {}", random.below(distinct))))
            .collect::<Vec<_>>()
            .iter()
            .map(Option::as_deref)
            .collect();
        let mut builder = ChunkBuilder::new(&DataType::Utf8View, rows);
        for start in (0..rows).step_by(BLOCK_ROWS) {
            builder
                .push(Arc::new(texts.slice(start, BLOCK_ROWS.min(rows - start))))
                .unwrap();
        }
        let chunk = Arc::new(builder.finish().unwrap());
        let plain = cast(&texts, &DataType::Utf8View).unwrap();
        for (number, block) in blocks(&plain) {
            assert_eq!(&chunk.read(number, None).unwrap(), &block);
        }
        assert!(chunk.bytes() < rows * 3 + 200_000, "{}", chunk.bytes());
        let Some(Domain::Texts(values)) = chunk.domain() else {
            panic!("no dictionary of {distinct}");
        };
        let passes: Vec<bool> = values
            .as_string_view()
            .iter()
            .map(|text| text.unwrap().ends_with('1'))
            .collect();
        for (number, block) in blocks(&plain) {
            for null_passes in [false, true] {
                let found = chunk.select_in_domain(number, &passes, 0, null_passes);
                let expected = block
                    .as_string_view()
                    .iter()
                    .map(|text| text.map_or(null_passes, |text| text.ends_with('1')));
                assert_eq!(rows_of(&found, block.len()), expected.collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_column_of_other_rows_than_its_row_group_is_corrupt() {
    let mut builder = ChunkBuilder::new(&DataType::Int64, 3);
    builder.push(Arc::new(Int64Array::from(vec![1, 2]))).unwrap();
    let after_a_short_block = builder.push(Arc::new(Int64Array::from(vec![3]))).unwrap_err();
    assert_eq!(after_a_short_block.kind(), crate::ErrorKind::CorruptFile);
    assert_eq!(builder.finish().unwrap_err().kind(), crate::ErrorKind::CorruptFile);
}
