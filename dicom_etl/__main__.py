"""``python -m dicom_etl`` is ``dicom-etl``."""

from dicom_etl.cli import main

if __name__ == "__main__":
    main()
