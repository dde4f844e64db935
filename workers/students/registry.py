"""All students. A new one is one file and one line here, and its name in `app.contracts`."""

from app.contracts.spec import StudentKind
from workers.students import bag, bilstm, cnn
from workers.students.base import StudentArchitecture

ARCHITECTURES: dict[StudentKind, StudentArchitecture] = {
    "cnn": cnn.ARCHITECTURE,
    "bilstm": bilstm.ARCHITECTURE,
    "bag": bag.ARCHITECTURE,
}
