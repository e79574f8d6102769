//! A partition table of any bytes: read or refused, never a panic. What is read
//! and written again is read as the same, and growing changes the length of one
//! partition only. The first eight bytes are the disk's length in sectors; then
//! follow the bytes of sector 0 from the disk id to the signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_board::layout::DATA_PARTITION;
use roost_board::mbr::Mbr;

fuzz_target!(|bytes: &[u8]| {
    let Some((sectors, bytes)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let mut sector = [0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let count = bytes.len().min(512 - 440);
    sector[440..440 + count].copy_from_slice(&bytes[..count]);
    let Ok(mbr) = Mbr::from_bytes(&sector) else {
        return;
    };
    assert_eq!(Mbr::from_bytes(&mbr.to_bytes()).as_ref(), Ok(&mbr));
    // Disks have at most 2^55 sectors: their length in bytes has 64 bits.
    let sectors = u64::from_le_bytes(*sectors) >> 9;
    let Some(grown) = mbr.grow_last(sectors) else {
        return;
    };
    assert_eq!(Mbr::from_bytes(&grown.to_bytes()).as_ref(), Ok(&grown));
    assert!(grown.end() <= sectors && grown.end() > mbr.end());
    assert_eq!(grown.disk_id(), mbr.disk_id());
    for number in 1..=4 {
        let (old, new) = (mbr.partition(number), grown.partition(number));
        if number == DATA_PARTITION {
            assert_eq!(old.map(|p| p.start), new.map(|p| p.start));
        } else {
            assert_eq!(old, new);
        }
    }
});
