//! The inputs that the project keeps for its fuzz targets. Those of a target are files of one
//! archive, `fuzz/corpus/<target>.tar.gz`, which is unpacked where libFuzzer and people can read
//! it.
//!
//! The same inputs always make the same archive: files are sorted, and have no time and no owner.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use tar::{Archive, Builder, Header};

use crate::error::{Error, Result};
use crate::workspace::Workspace;

/// Unpacks the archive of a target. Returns the directory, or `None` if the target has no archive.
pub(crate) fn unpack(workspace: &Workspace, target: &str) -> Result<Option<PathBuf>> {
    match archive(workspace, target).exists() {
        true => unpack_to_change(workspace, target).map(Some),
        false => Ok(None),
    }
}

/// Unpacks the archive of a target, if there is one, to change its inputs and [`pack`] them.
pub(crate) fn unpack_to_change(workspace: &Workspace, target: &str) -> Result<PathBuf> {
    let (archive, directory) = (archive(workspace, target), directory(workspace, target));
    match fs::remove_dir_all(&directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::file(directory, e)),
        _ => fs::create_dir_all(&directory).map_err(|e| Error::file(&directory, e))?,
    }
    if archive.exists() {
        let file = File::open(&archive).map_err(|e| Error::file(&archive, e))?;
        read(file, &directory).map_err(|e| Error::file(&archive, e))?;
    }
    Ok(directory)
}

/// Makes the archive of a target from its directory.
pub(crate) fn pack(workspace: &Workspace, target: &str) -> Result<()> {
    let (archive, directory) = (archive(workspace, target), directory(workspace, target));
    let packed = write(&directory).map_err(|e| Error::file(&directory, e))?;
    let parts = archive.with_extension("part");
    fs::write(&parts, packed).and_then(|()| fs::rename(&parts, &archive)).map_err(|e| Error::file(archive, e))
}

/// Adds files to the archive of a target. They keep their names.
pub(crate) fn add(workspace: &Workspace, target: &str, files: &[PathBuf]) -> Result<()> {
    let directory = unpack_to_change(workspace, target)?;
    for file in files {
        let input = fs::read(file).map_err(|e| Error::file(file, e))?;
        let name = file.file_name().unwrap_or_default();
        let kept = directory.join(name);
        if fs::read(&kept).is_ok_and(|there| there != input) {
            return Err(Error::NameTaken { name: name.to_string_lossy().into_owned() });
        }
        fs::write(&kept, input).map_err(|e| Error::file(kept, e))?;
    }
    pack(workspace, target)
}

fn archive(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.path("fuzz/corpus").join(format!("{target}.tar.gz"))
}

fn directory(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.path("fuzz/target/corpus").join(target)
}

/// Writes the files of an archive into a directory. Directories within the archive count for
/// nothing.
fn read(archive: impl Read, directory: &Path) -> io::Result<()> {
    for entry in Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().map(|name| directory.join(name));
        if let (true, Some(path)) = (entry.header().entry_type().is_file(), name) {
            io::copy(&mut entry, &mut File::create(path)?)?;
        }
    }
    Ok(())
}

/// Makes an archive of the files of a directory.
fn write(directory: &Path) -> io::Result<Vec<u8>> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    let mut archive = Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
    for path in paths {
        let input = fs::read(&path)?;
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(input.len() as u64);
        archive.append_data(&mut header, path.file_name().unwrap_or_default(), input.as_slice())?;
    }
    let mut compressed = archive.into_inner()?;
    compressed.flush()?;
    compressed.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_always_packed_alike() {
        let scratch = std::env::temp_dir().join(format!("xtask-corpus-{}", std::process::id()));
        let (one, other) = (scratch.join("one"), scratch.join("other"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&other).unwrap();
        for (name, input) in [("b", &b"\xff\x00"[..]), ("a", b""), ("c", &[7; 100_000])] {
            fs::write(one.join(name), input).unwrap();
        }
        let packed = write(&one).unwrap();
        read(packed.as_slice(), &other).unwrap();
        assert_eq!(fs::read(other.join("a")).unwrap(), b"");
        assert_eq!(fs::read(other.join("b")).unwrap(), b"\xff\x00");
        assert_eq!(fs::read(other.join("c")).unwrap(), [7; 100_000]);
        assert_eq!(write(&other).unwrap(), packed);
        assert!(read(&packed[..packed.len() / 2], &other).is_err());
        fs::remove_dir_all(scratch).unwrap();
    }
}
